"""The list columns of a run: norms of single sequences, states of single units, read for one call at a time."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Float

from gradscope.errors import RunError, UsageError
from gradscope.runs.parts import iteration_range, read_parts
from gradscope.runs.places import Place, each_of

_KEYS = ["iteration", "layer", "call"]


class SequenceTable:
    """Finds the rows of one call of one layer among the parts of a table without reading the others.

    Args:
        folder: The run folder, for messages.
        table: "timesteps" or "states".
        parts: The table's parts.
    """

    def __init__(self, folder: Place, table: str, parts: Sequence[Place]) -> None:
        self._folder = folder
        self._table = table
        self._parts = parts
        self._ranges: list[tuple[float, float]] | None = None
        # Neighbouring iterations share a part, and callers ask for them one after the other.
        self._read = lru_cache(maxsize=2)(self._read_columns)

    def norms(self, layer: str, iteration: int, call: int | None) -> Float[np.ndarray, "time sequence"]:
        """Return sequence_norms of one call as an array of float64.

        Raises:
            UsageError: Nothing was recorded there.
        """
        rows = self._rows(layer, iteration, call, "sequence_norms")
        values = self._matrix(rows["sequence_norms"]).astype(np.float64)
        return values[np.argsort(rows["time"].to_numpy(), kind="stable")]

    def iterations(self, layer: str) -> list[int]:
        """Return the iterations of which there are rows of a layer, in order."""
        keys = read_parts(self._parts, self._table, ("iteration", "layer"))
        if "layer" not in keys.column_names:
            return []
        found = pc.unique(keys.filter(pc.equal(keys["layer"], layer))["iteration"])
        return sorted(found.to_pylist())

    def units(
        self, layer: str, iteration: int, call: int | None, quantity: str
    ) -> Float[np.ndarray, "time sequence hidden"]:
        """Return a state column of one call, NaN where a sequence has no such time.

        Raises:
            UsageError: It was not kept, or there is no such quantity.
        """
        if quantity not in {"hidden", "total_gradient"}:
            raise UsageError(f"states has the quantities 'hidden' and 'total_gradient', got {quantity!r}.")
        rows = self._rows(layer, iteration, call, quantity)
        values = self._matrix(rows[quantity])
        # By rank, not by value: a damaged run must not be able to ask for an array of any size.
        times, time = np.unique(rows["time"].to_numpy(), return_inverse=True)
        sequences, sequence = np.unique(rows["sequence"].to_numpy(), return_inverse=True)
        states = np.full((len(times), len(sequences), values.shape[1]), np.nan, dtype=values.dtype)
        states[time, sequence] = values
        return states

    def _rows(self, layer: str, iteration: int, call: int | None, column: str) -> Any:  # noqa: ANN401
        # The rows of one call that have the column; of the newest call if none is named.
        keys = [*_KEYS, "sequence", "time"] if self._table == "states" else [*_KEYS, "time"]
        found = []
        for content in self._candidates(iteration, (*keys, column)):
            same = pc.and_(pc.equal(content["iteration"], iteration), pc.equal(content["layer"], layer))
            found.append(content.filter(pc.and_(same, pc.is_valid(content[column]))))
        rows = pa.concat_tables(found) if found else None
        if rows is not None and len(rows):
            calls = rows["call"].to_numpy()
            rows = rows.filter(pa.array(calls == (calls.max() if call is None else call)))
        if rows is None or not len(rows):
            raise UsageError(self._not_kept(layer, iteration, call, column))
        return rows

    def _candidates(self, iteration: int, columns: tuple[str, ...]) -> list[Any]:
        if self._ranges is None:
            self._ranges = each_of(iteration_range, self._parts)
        near = [path for path, (low, high) in zip(self._parts, self._ranges, strict=True) if low <= iteration <= high]
        contents = [self._read(path, columns) for path in near]
        return [content for content in contents if set(columns) <= set(content.column_names)]

    def _read_columns(self, path: Place, columns: tuple[str, ...]) -> Any:  # noqa: ANN401
        return read_parts([path], self._table, columns)

    def _matrix(self, lists: Any) -> Float[np.ndarray, "row entry"]:  # noqa: ANN401
        array = pa.concat_arrays(lists.chunks)
        lengths = np.unique(pc.list_value_length(array).to_numpy(zero_copy_only=False))
        if len(lengths) != 1:
            raise RunError(f"The {self._table} parts of {self._folder} are damaged: rows of one call differ in length.")
        values: Float[np.ndarray, " all"] = array.flatten().to_numpy(zero_copy_only=False)
        return values.reshape(len(array), int(lengths[0]))

    def _not_kept(self, layer: str, iteration: int, call: int | None, column: str) -> str:
        asked = f"{column} of layer {layer!r} at iteration {iteration}" + ("" if call is None else f", call {call}")
        content = read_parts(self._parts, self._table, (*_KEYS, column))
        kept = pd.DataFrame(columns=_KEYS)
        if column in content.column_names:
            kept = content.filter(pc.is_valid(content[column])).select(_KEYS).to_pandas(ignore_metadata=True)
        if kept.empty:
            return (
                f"The run {self._folder} has no {asked}: it kept none at all."
                + " States are kept with watch(keep='states') or keep='full'." * (self._table == "states")
            )
        lines = [f"{name!r} at iterations {_listed(rows)}" for name, rows in kept.groupby("layer")]
        return f"The run {self._folder} has no {asked}. It has: {'; '.join(lines)}."


def _listed(rows: pd.DataFrame) -> str:
    iterations = sorted(set(rows["iteration"]))
    shown = [str(iteration) for iteration in iterations]
    if len(shown) > 12:
        shown = [*shown[:6], "...", *shown[-3:]]
    calls = sorted(set(rows["call"]))
    return (
        ", ".join(shown)
        + f" ({len(iterations)} in all)" * (len(iterations) > 12)
        + ("" if len(calls) == 1 else f" (calls {calls[0]} to {calls[-1]})")
    )

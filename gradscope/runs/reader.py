"""Opens a run folder: tables as data frames, states and norms of single sequences as arrays."""

from functools import cached_property
from typing import Any, Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.errors import UsageError
from gradscope.runs.layout import LISTS, ORDER, TABLES
from gradscope.runs.manifest import Manifest, read_manifests
from gradscope.runs.nonfinite import in_order_of_appearance
from gradscope.runs.parts import Snapshot, data_frame, read_parts, take_snapshot
from gradscope.runs.places import Place, PlaceLike, as_place
from gradscope.runs.sequences import SequenceTable
from gradscope.runs.units import unit_table

Quantity = Literal["hidden", "total_gradient"]


class Run:
    """A run as it stood when it was opened, even if it is still being written.

    Tables are read when they are first asked for, then kept. They always agree with one another.

    Attributes:
        path: The run folder.
        metadata: What the writer said about the run.
        complete: Whether the run was closed; False while it is written and after a crash.
        rank: Of the process that recorded it, where several train together; 0 otherwise.
        ranks: Of all processes that recorded there.
    """

    def __init__(self, path: Place, manifest: Manifest, snapshot: Snapshot, ranks: tuple[int, ...] = (0,)) -> None:
        self.path = path
        self.rank = manifest.rank
        self.ranks = ranks
        self.metadata: dict[str, Any] = manifest.metadata
        self.complete = manifest.complete
        self._snapshot = snapshot

    def __repr__(self) -> str:
        return f"<Run {self.path}, {len(self.iterations)} iterations, {'complete' if self.complete else 'incomplete'}>"

    @cached_property
    def layers(self) -> list[str]:
        """The recurrent layers, in the order of the model; after them what was tapped, by name."""
        named = self.metadata.get("layers")
        known = [str(name) for name in named] if isinstance(named, dict) else []
        rows = read_parts(self._snapshot.parts["timesteps"], "timesteps", ["layer"])
        found = rows["layer"].unique().to_pylist() if rows.num_columns else []
        return known + sorted(set(found).difference(known))

    @cached_property
    def iterations(self) -> pd.DataFrame:
        """One row an iteration: loss, gradient norms, clipping, and whatever was logged."""
        return self._table("iterations")

    @cached_property
    def timesteps(self) -> pd.DataFrame:
        """One row a recorded (iteration, layer, call, time): norms, each the mean over the batch."""
        return self._table("timesteps")

    @cached_property
    def parameters(self) -> pd.DataFrame:
        """One row a recorded (iteration, parameter)."""
        return self._table("parameters")

    @cached_property
    def unit_norms(self) -> pd.DataFrame:
        """One row a recorded (iteration, parameter, unit): gradient_norm before clipping, weight_norm before an update.

        A unit is a row of a matrix; a vector is one unit. Empty unless they were asked for: watch(also=["unit-norms"]).
        """
        return unit_table(self.path, self._snapshot.parts["parameters"])

    @cached_property
    def gates(self) -> pd.DataFrame:
        """One row a recorded (iteration, layer, call, time, gate)."""
        return self._table("gates")

    @cached_property
    def nonfinite(self) -> pd.DataFrame:
        """Where values were NaN or infinite: a row for each iteration, layer, call and quantity, with the first time.

        The first to appear comes first: forwards along the model and along time, then the loss, then backwards. Some
        have no layer (the loss), no call or time (parameters) or no name (which only gates and parameters have).
        """
        return in_order_of_appearance(self._read("nonfinite"), self.layers)

    def sequence_norms(self, layer: str, iteration: int, call: int | None = None) -> Float[np.ndarray, "time sequence"]:
        """Return the norm of the total gradient of the state, of each sequence at each time.

        The state is all that the recurrence carries: h, and (h, c) together for an LSTM.

        Args:
            layer: Name of the layer, one of `layers`.
            iteration: A recorded iteration.
            call: Which call of the layer in that iteration; None for the newest.

        Returns:
            float64, NaN where a packed sequence has no such time.

        Raises:
            UsageError: Nothing was recorded there; the message says where something was.
        """
        return self._sequences.norms(layer, iteration, call)

    def states(
        self, layer: str, iteration: int, call: int | None = None, quantity: Quantity = "hidden"
    ) -> Float[np.ndarray, "time sequence hidden"]:
        """Return the kept states of a layer, or the total gradients that reach them.

        Args:
            layer: Name of the layer, one of `layers`.
            iteration: An iteration whose states were kept.
            call: Which call of the layer in that iteration; None for the newest.
            quantity: "hidden" for the states, "total_gradient" for dL/dh.

        Returns:
            As it was recorded, NaN where a packed sequence has no such time.

        Raises:
            UsageError: It was not kept; the message says what was.
        """
        return self._states.units(layer, iteration, call, quantity)

    def iterations_with_states(self, layer: str) -> list[int]:
        """Return the iterations whose states were kept: over a long training not all that were recorded."""
        return self._states.iterations(layer)

    def forget(self) -> None:
        """Let go of the tables that were read; they are read again when they are asked for."""
        for name in [name for name, kind in vars(type(self)).items() if isinstance(kind, cached_property)]:
            self.__dict__.pop(name, None)

    @cached_property
    def _sequences(self) -> SequenceTable:
        return SequenceTable(self.path, "timesteps", self._snapshot.parts["timesteps"])

    @cached_property
    def _states(self) -> SequenceTable:
        return SequenceTable(self.path, "states", self._snapshot.parts["states"])

    def _read(self, table: str) -> pd.DataFrame:
        lists = LISTS.get(table)
        columns = list(TABLES[table]) if lists else None
        return data_frame(read_parts(self._snapshot.parts[table], table, columns), table)

    def _table(self, table: str) -> pd.DataFrame:
        frame = self._read(table)
        layers = self.layers if "layer" in ORDER[table] else []
        place = {name: str(index).zfill(6) for index, name in enumerate(layers)}

        def key(column: "pd.Series[Any]") -> "pd.Series[Any]":
            # Layers sort as they stand in the model: by name, l10 would come before l2.
            return column.map(lambda name: place.get(name, name)) if column.name == "layer" else column

        return frame.sort_values(list(ORDER[table]), key=key, kind="stable", ignore_index=True)


def open_run(path: PlaceLike, rank: int | None = None) -> Run:
    """Open a run folder, finished or still being written.

    Nothing in it is executed or unpickled: a run may come from anyone.

    Args:
        path: The folder that `watch(run=...)` was given, or its URL in an object store: `s3://bucket/folder`.
        rank: Of several processes that train together, whose part to read; None for the lowest, which is 0 unless that
            one did not watch.

    Returns:
        The run as it stands at this moment, up to its last whole flush.

    Raises:
        RunError: The folder is missing, is not a run, or is damaged.
        UsageError: No process of that rank recorded there.
    """
    folder = as_place(path)
    manifests = read_manifests(folder)
    rank = min(manifests) if rank is None else rank
    if rank not in manifests:
        there = ", ".join(str(one) for one in manifests)
        raise UsageError(f"The run {folder} has no rank {rank!r}; it has: {there}.")
    return Run(folder, manifests[rank], take_snapshot(folder, manifests[rank]), tuple(manifests))

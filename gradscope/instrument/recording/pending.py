"""What has been recorded and not yet written. Tensors stay on their device until `tables` brings them over."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gradscope.instrument.nonfinite import NonfiniteRow, in_order_of_appearance, may_be_not_finite, rows_of_pass
from gradscope.instrument.parameters import CLIP_COLUMNS, PARAMETER_COLUMNS, ParameterRows
from gradscope.instrument.recording.kept_states import KeptStates
from gradscope.instrument.recording.pass_rows import PassRecord, Values, alike, gates, timesteps
from gradscope.runs import ColumnLike

Columns = dict[str, ColumnLike]


@dataclass(frozen=True, eq=False)
class IterationRecord:
    """One iteration: what the user logged, and the parameters if it was recorded."""

    iteration: int
    scalars: Mapping[str, float | Tensor]
    parameters: ParameterRows | None = None


class Pending:
    """Rows that wait for the next flush.

    Attributes:
        states: unit by unit; whoever has written them clears them.
    """

    def __init__(self) -> None:
        self.states = KeptStates()
        self._passes: list[PassRecord] = []
        self._iterations: list[IterationRecord] = []
        self._nonfinite: list[NonfiniteRow] = []

    def add_nonfinite(self, rows: Sequence[NonfiniteRow]) -> None:
        """Add values that are not finite and belong to no pass, or to one that may never end."""
        self._nonfinite += rows

    def add_pass(self, record: PassRecord) -> None:
        """Add one pass through one layer."""
        self._passes.append(record)

    def add_iteration(self, record: IterationRecord) -> None:
        """Add one iteration, after its passes."""
        self._iterations.append(record)

    def __len__(self) -> int:
        return len(self._iterations)

    @torch.no_grad()
    def tables(self) -> dict[str, Columns]:
        """Return the columns of every table that has rows, and forget them but for the states."""
        passes, iterations = self._passes, self._iterations
        rows = [_row(record) for record in iterations]
        found = [row for record in may_be_not_finite(passes) for row in rows_of_pass(record)]
        late = [each for record, row in zip(iterations, rows, strict=True) for each in _seen_late(record, row)]
        nonfinite = [*self._nonfinite, *(in_order_of_appearance([*found, *late]) if late else found)]
        groups = alike(passes)
        self._passes, self._iterations, self._nonfinite = [], [], []
        tables = {
            "timesteps": _join([timesteps(group) for group in groups]),
            "gates": _join([block for group in groups if (block := gates(group)) is not None]),
            "states": _join(self.states.columns()),
            "parameters": _join([_parameters(record) for record in iterations if record.parameters is not None]),
            "nonfinite": _nonfinite(nonfinite),
        }
        return {**{name: columns for name, columns in tables.items() if columns}, "iterations": _iterations(rows)}


def _join(blocks: list[dict[str, Values]]) -> Columns:
    if not blocks:
        return {}
    joined: Columns = {}
    for name, first in blocks[0].items():
        if isinstance(first, np.ndarray):
            joined[name] = np.concatenate([np.asarray(block[name]) for block in blocks])
        else:
            joined[name] = [value for block in blocks for value in block[name]]
    return joined


def _seen_late(record: IterationRecord, row: Mapping[str, float | None]) -> Iterator[NonfiniteRow]:
    # On a GPU nobody has looked yet.
    loss, parameters = record.scalars.get("loss"), record.parameters
    if isinstance(loss, Tensor) and loss.device.type != "cpu" and not _is_finite(row["loss"]):
        yield NonfiniteRow(record.iteration, "loss")
    if parameters is None or parameters.columns.device.type == "cpu" or _is_finite(row["gradient_norm"]):
        return
    finite = parameters.columns[:, 0].isfinite().tolist()
    names = (name for name, is_finite in zip(parameters.names, finite, strict=True) if not is_finite)
    yield from (NonfiniteRow(record.iteration, "parameter_gradient", name=name) for name in names)


def _is_finite(number: float | None) -> bool:
    return number is not None and math.isfinite(number)


def _parameters(record: IterationRecord) -> dict[str, Values]:
    assert record.parameters is not None
    rows = record.parameters
    names, columns = rows.names, rows.columns.cpu().numpy()
    found: dict[str, Values] = {
        "iteration": np.full(len(names), record.iteration),
        "parameter": names,
        **{name: columns[:, position] for position, name in enumerate(PARAMETER_COLUMNS)},
    }
    if rows.radii is not None:
        found["spectral_radius"] = rows.radii.cpu().numpy()
    if rows.unit_gradients is not None and rows.unit_weights is not None:
        found["unit_gradient_norms"] = [norms.cpu().numpy() for norms in rows.unit_gradients]
        found["unit_weight_norms"] = [norms.cpu().numpy() for norms in rows.unit_weights]
    return found


def _nonfinite(rows: list[NonfiniteRow]) -> Columns:
    return {name: [getattr(row, name) for row in rows] for name in NonfiniteRow._fields} if rows else {}


def _row(record: IterationRecord) -> dict[str, float | None]:
    row: dict[str, float | None] = {"iteration": record.iteration}
    row.update({name: float(value) for name, value in record.scalars.items()})
    if record.parameters is not None:
        row.update(zip(CLIP_COLUMNS, record.parameters.clip.tolist(), strict=True))
        if record.parameters.micro is not None:
            count, norm = record.parameters.micro
            row.update(micro_batches=count, micro_gradient_norm=float(norm))
    return row


def _iterations(rows: Sequence[Mapping[str, float | None]]) -> Columns:
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["iteration"]
    return {name: [row.get(name) for row in rows] for name in names}

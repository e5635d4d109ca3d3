"""What has been recorded and not yet written. Tensors stay on their device until `tables` brings them over."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.nonfinite import NonfiniteRow, rows_of_pass
from gradscope.instrument.parameters import CLIP_COLUMNS, PARAMETER_COLUMNS, ParameterRows
from gradscope.instrument.summary import Summary
from gradscope.runs import ColumnLike

Columns = dict[str, ColumnLike]
Values = list[Any] | np.ndarray


@dataclass(frozen=True, eq=False)
class PassRecord:
    """One pass through one layer; `hidden` and `total_gradient` only of the sequences kept unit by unit."""

    layer: str
    iteration: int
    call: int
    summary: Summary
    hidden: Float[Tensor, "time sequence hidden"] | None = None
    total_gradient: Float[Tensor, "time sequence hidden"] | None = None


@dataclass(frozen=True, eq=False)
class IterationRecord:
    """One iteration: what the user logged, and the parameters if it was recorded."""

    iteration: int
    scalars: Mapping[str, float | Tensor]
    parameters: ParameterRows | None = None


class Pending:
    """Rows that wait for the next flush."""

    def __init__(self) -> None:
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
        """Return the columns of every table that has rows, and forget them."""
        passes, iterations = self._passes, self._iterations
        nonfinite = [*self._nonfinite, *(row for record in passes for row in rows_of_pass(record))]
        self._passes, self._iterations, self._nonfinite = [], [], []
        tables = {
            "timesteps": _join([_timesteps(record) for record in passes]),
            "gates": _join([block for record in passes for block in _gates(record)]),
            "states": _join([block for record in passes for block in _states(record)]),
            "parameters": _join([_parameters(record) for record in iterations if record.parameters is not None]),
            "nonfinite": _nonfinite(nonfinite),
        }
        return {**{name: columns for name, columns in tables.items() if columns}, "iterations": _iterations(iterations)}


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


def _keys(record: PassRecord, rows: int) -> dict[str, Values]:
    return {
        "iteration": np.full(rows, record.iteration),
        "layer": [record.layer] * rows,
        "call": np.full(rows, record.call),
    }


def _host(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array


# Norms that are infinite or near the largest number are what is recorded: no reason for a warning.
@np.errstate(invalid="ignore", over="ignore")
def _timesteps(record: PassRecord) -> dict[str, Values]:
    summary = record.summary
    exists = None if summary.exists is None else _host(summary.exists)
    time = len(summary.total_norm)
    missing = np.full(time, np.nan)

    def mean(norms: Float[Tensor, "time batch"] | None) -> np.ndarray:
        return missing if norms is None else _mean(_host(norms), exists)

    low, high = _quantiles(_host(summary.total_norm), exists)
    return {
        **_keys(record, time),
        "time": np.arange(time),
        "hidden_norm": mean(summary.hidden_norm),
        "total_gradient_norm": mean(summary.total_norm),
        "total_gradient_norm_q10": low,
        "total_gradient_norm_q90": high,
        "direct_gradient_norm": mean(summary.direct_norm),
        "weight_gradient_norm": missing if summary.weight_norm is None else _host(summary.weight_norm),
        "cell_norm": mean(summary.cell_norm),
        "cell_gradient_norm": mean(summary.cell_gradient_norm),
        "saturation": missing if summary.saturation is None else _host(summary.saturation),
        "nonfinite": _host(summary.nonfinite),
        "sequence_norms": [_state_gradient(summary, exists)],
    }


def _mean(norms: np.ndarray, exists: np.ndarray | None) -> np.ndarray:
    mean: np.ndarray = norms.mean(1) if exists is None else np.mean(norms, axis=1, where=exists)
    return mean


def _quantiles(norms: np.ndarray, exists: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    shares = (0.1, 0.9)
    if exists is None:
        low, high = np.quantile(norms, shares, axis=1)
    else:
        low, high = np.array([np.quantile(row[there], shares) for row, there in zip(norms, exists, strict=True)]).T
    return low, high


def _state_gradient(summary: Summary, exists: np.ndarray | None) -> np.ndarray:
    # What the recurrence carries is (h, c) in an LSTM: where its hidden state lets go, its cell may still hold on.
    total = _host(summary.total_norm)
    state = total if summary.cell_gradient_norm is None else np.hypot(total, _host(summary.cell_gradient_norm))
    return state if exists is None else np.where(exists, state, np.nan)


def _gates(record: PassRecord) -> Iterator[dict[str, Values]]:
    for gate, shares in record.summary.gates.items():
        mean, low, high, log_mean = _host(shares).astype(np.float64)
        time = len(mean)
        yield {
            **_keys(record, time),
            "time": np.arange(time),
            "gate": [gate] * time,
            "mean": mean,
            "low": low,
            "high": high,
            "log_mean": log_mean,
        }


def _states(record: PassRecord) -> Iterator[dict[str, Values]]:
    if record.hidden is None or record.total_gradient is None:
        return
    hidden, gradient = (_host(kept).swapaxes(0, 1) for kept in (record.hidden, record.total_gradient))
    sequences, time, units = hidden.shape
    yield {
        **_keys(record, sequences * time),
        "sequence": np.repeat(np.arange(sequences), time),
        "time": np.tile(np.arange(time), sequences),
        "hidden": [hidden.reshape(-1, units)],
        "total_gradient": [gradient.reshape(-1, units)],
    }


def _parameters(record: IterationRecord) -> dict[str, Values]:
    assert record.parameters is not None
    rows = record.parameters
    names, columns = rows.names, _host(rows.columns)
    found: dict[str, Values] = {
        "iteration": np.full(len(names), record.iteration),
        "parameter": names,
        **{name: columns[:, position] for position, name in enumerate(PARAMETER_COLUMNS)},
    }
    if rows.radii is not None:
        found["spectral_radius"] = _host(rows.radii)
    if rows.unit_gradients is not None and rows.unit_weights is not None:
        found["unit_gradient_norms"] = [_host(norms) for norms in rows.unit_gradients]
        found["unit_weight_norms"] = [_host(norms) for norms in rows.unit_weights]
    return found


def _nonfinite(rows: list[NonfiniteRow]) -> Columns:
    return {name: [getattr(row, name) for row in rows] for name in NonfiniteRow._fields} if rows else {}


def _iterations(records: list[IterationRecord]) -> Columns:
    rows = []
    for record in records:
        row: dict[str, float | None] = {"iteration": record.iteration}
        row.update({name: float(value) for name, value in record.scalars.items()})
        if record.parameters is not None:
            row.update(zip(CLIP_COLUMNS, record.parameters.clip.tolist(), strict=True))
            if record.parameters.micro is not None:
                count, norm = record.parameters.micro
                row.update(micro_batches=count, micro_gradient_norm=float(norm))
        rows.append(row)
    names = list(dict.fromkeys(name for row in rows for name in row)) or ["iteration"]
    return {name: [row.get(name) for row in rows] for name in names}

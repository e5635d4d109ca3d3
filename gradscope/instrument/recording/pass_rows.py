"""From passes to the rows of the tables.

Passes of one shape become rows together: one by itself costs as much in Python as in arithmetic, and it is Python's
lock that a training waits for which goes on meanwhile.
"""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gradscope.instrument.summary import Summary

Values = list[Any] | np.ndarray
_NORMS = ("direct_norm", "weight_norm", "saturation", "cell_norm", "cell_gradient_norm", "exists")
"""What not every pass has."""


@dataclass(frozen=True, eq=False)
class PassRecord:
    """One pass through one layer."""

    layer: str
    iteration: int
    call: int
    summary: Summary


def alike(records: Sequence[PassRecord]) -> list[list[PassRecord]]:
    """Return the passes in groups whose rows can be made together."""
    groups: defaultdict[object, list[PassRecord]] = defaultdict(list)
    for record in records:
        summary, total = record.summary, record.summary.total_norm
        present = tuple(getattr(summary, name) is not None for name in _NORMS)
        groups[total.shape, total.device, present, tuple(summary.gates)].append(record)
    return list(groups.values())


# Norms that are infinite or near the largest number are what is recorded: no reason for a warning.
@np.errstate(invalid="ignore", over="ignore")
def timesteps(records: Sequence[PassRecord]) -> dict[str, Values]:
    """Return the columns of `timesteps` for passes that are alike."""
    time, batch = records[0].summary.total_norm.shape
    exists = _sequences(records, "exists")
    total, cell_gradient = _sequences(records, "total_norm"), _sequences(records, "cell_gradient_norm")
    assert total is not None

    def mean(name: str) -> np.ndarray:
        norms = _sequences(records, name)
        return _missing(records) if norms is None else _mean(norms, exists)

    low, high = _quantiles(total, exists)
    # What the recurrence carries is (h, c) in an LSTM: where its hidden state lets go, its cell may still hold on.
    state = total if cell_gradient is None else np.hypot(total, cell_gradient)
    nonfinite = torch.stack([record.summary.nonfinite for record in records])
    return {
        **_keys(records, time),
        "time": np.tile(np.arange(time), len(records)),
        "hidden_norm": mean("hidden_norm"),
        "total_gradient_norm": _mean(total, exists),
        "total_gradient_norm_q10": low,
        "total_gradient_norm_q90": high,
        "direct_gradient_norm": mean("direct_norm"),
        "weight_gradient_norm": _times(records, "weight_norm"),
        "cell_norm": mean("cell_norm"),
        "cell_gradient_norm": _missing(records) if cell_gradient is None else _mean(cell_gradient, exists),
        "saturation": _times(records, "saturation"),
        "nonfinite": _host(nonfinite).ravel(),
        "sequence_norms": [(state if exists is None else np.where(exists, state, np.nan)).reshape(-1, batch)],
    }


def gates(records: Sequence[PassRecord]) -> dict[str, Values] | None:
    """Return the columns of `gates` for passes that are alike; None if they have none."""
    names = list(records[0].summary.gates)
    if not names:
        return None
    opened = [shares for record in records for shares in record.summary.gates.values()]
    mean, low, high, log_mean = _host(torch.stack(opened, dim=1)).astype(np.float64).reshape(4, -1)
    time = opened[0].shape[1]
    return {
        **_keys(records, time * len(names)),
        "time": np.tile(np.arange(time), len(opened)),
        "gate": np.tile(np.repeat(np.array(names, dtype=object), time), len(records)),
        "mean": mean,
        "low": low,
        "high": high,
        "log_mean": log_mean,
    }


def _keys(records: Sequence[PassRecord], rows: int) -> dict[str, Values]:
    return {
        "iteration": np.repeat([record.iteration for record in records], rows),
        "layer": np.repeat(np.array([record.layer for record in records], dtype=object), rows),
        "call": np.repeat([record.call for record in records], rows),
    }


def _host(tensor: Tensor) -> np.ndarray:
    array: np.ndarray = tensor.cpu().numpy()
    return array


def _stacked(records: Sequence[PassRecord], name: str) -> Tensor | None:
    values = [value for record in records if (value := getattr(record.summary, name)) is not None]
    return torch.stack(values) if values else None


def _sequences(records: Sequence[PassRecord], name: str) -> np.ndarray | None:
    # A row for each time of each pass, a column for each sequence.
    stacked = _stacked(records, name)
    return None if stacked is None else _host(stacked.flatten(0, 1))


def _times(records: Sequence[PassRecord], name: str) -> np.ndarray:
    stacked = _stacked(records, name)
    return _missing(records) if stacked is None else _host(stacked.flatten())


def _missing(records: Sequence[PassRecord]) -> np.ndarray:
    return np.full(len(records) * len(records[0].summary.total_norm), np.nan)


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

"""What the gates of a layer do through time: how open they are, and how long the one that keeps the state keeps it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

Closeness = Literal["geometric", "at most"]

KEEPING_GATES = {"lstm": "forget", "gru": "update"}
"""The gate that multiplies the old state: f in c_t = f c + i g, z in h_t = (1 - z) n + z h."""


@dataclass(frozen=True)
class GateUse:
    """A gate over some iterations, all times, units and sequences taken together.

    Attributes:
        gate: Its name.
        mean: Mean value.
        low: Share of the values below 0.1.
        high: Share of the values above 0.9.
        iterations: How many iterations it is from.
    """

    gate: str
    mean: float
    low: float
    high: float
    iterations: int


@dataclass(frozen=True)
class TimeConstant:
    """Over how many times a gate lets the state decay to 1/e.

    Attributes:
        times: -1 / mean(log f).
        closeness: "geometric" if the mean logarithm was recorded. "at most" if only the mean of f was: by Jensen's
            inequality the mean logarithm is at most the logarithm of the mean, so the true constant is not longer.
        gate_mean: Mean value of the gate.
        open_share: Share of the values above 0.9. Units that keep for long are among these, whatever the others do.
    """

    times: float
    closeness: Closeness
    gate_mean: float
    open_share: float

    def kept(self, lag: int) -> float:
        """Return the share of the state that a typical unit keeps over `lag` times, in the geometric mean."""
        return float(np.exp(-lag / self.times)) if self.times > 0 else 0.0


def gate_use(gates: pd.DataFrame) -> tuple[GateUse, ...]:
    """Summarise each gate.

    Args:
        gates: Rows of one layer of a run's `gates`.

    Returns:
        One for each gate, in the order of the table.
    """
    return tuple(
        GateUse(str(name), _mean(rows["mean"]), _mean(rows["low"]), _mean(rows["high"]), rows["iteration"].nunique())
        for name, rows in gates.groupby("gate", sort=False)
    )


def time_constant(gates: pd.DataFrame, gate: str) -> TimeConstant | None:
    """Return how long a gate keeps the state.

    A run holds the mean logarithm of the gate over units and sequences at each time (`log_mean`), which says how long a
    typical unit keeps, and nothing of the single unit: a few that stay open, counted in `open_share`, can keep for
    longer. A run of an earlier version holds the mean of the gate alone, which bounds it.

    Args:
        gates: Rows of one layer of a run's `gates`.
        gate: "forget" of an LSTM, "update" of a GRU; see `KEEPING_GATES`.

    Returns:
        The time constant over all rows; None if the gate was not recorded.
    """
    rows = gates[gates["gate"] == gate]
    mean = rows["mean"].to_numpy(dtype=np.float64)
    if not len(mean) or not np.isfinite(mean).all():
        return None
    logarithm, closeness = _mean_logarithm(rows, mean)
    times = np.inf if logarithm >= 0 else -1 / logarithm
    return TimeConstant(float(times), closeness, float(mean.mean()), _mean(rows["high"]))


def _mean_logarithm(rows: pd.DataFrame, mean: Float[np.ndarray, " row"]) -> tuple[float, Closeness]:
    recorded = rows["log_mean"].to_numpy(dtype=np.float64) if "log_mean" in rows else np.full(len(rows), np.nan)
    if np.isfinite(recorded).all():
        return float(recorded.mean()), "geometric"
    with np.errstate(divide="ignore"):
        return float(np.log(mean).mean()), "at most"


def _mean(column: "pd.Series[float]") -> float:
    return float(column.mean()) if len(column) else np.nan

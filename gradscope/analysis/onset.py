"""When in training something began."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from gradscope.analysis.lags import by_lag
from gradscope.analysis.pooling import evenly_spaced, pooled_norms
from gradscope.runs import Run

_MOST_ITERATIONS = 400


def first_lasting(iterations: Sequence[int], holds: Sequence[bool] | Bool[np.ndarray, " recorded"]) -> int | None:
    """Return the first recorded iteration at which something holds and still holds at the next one recorded.

    One hit may be chance; the last iteration has no next one and counts by itself.

    Args:
        iterations: Recorded iterations in order.
        holds: Whether it holds at each.

    Returns:
        The iteration; None if it never lasts.
    """
    hit = np.asarray(holds, dtype=bool)
    if not len(hit):
        return None
    lasting = hit & np.append(hit[1:], True)
    return int(iterations[int(np.argmax(lasting))]) if lasting.any() else None


def rates_through_training(timesteps: pd.DataFrame, *, floor: float, reverse: bool = False) -> pd.DataFrame:
    """Return the decay rate of the total gradient at each recorded iteration, without intervals.

    For the course of a rate through training; `run_decay` says how sure a rate is. Of more than 400 recorded
    iterations 400 are taken.

    Args:
        timesteps: Rows of one layer of a run's table.
        floor: Norms at or below it are not fitted.
        reverse: The layer reads from the last time to the first.

    Returns:
        Columns iteration, rate (nats per time), lags (how many were fitted). -inf where the gradient is 0 one time
        back, NaN where there is nothing to fit.
    """
    recorded = np.unique(timesteps["iteration"].to_numpy())
    if len(recorded) > _MOST_ITERATIONS:
        recorded = recorded[np.linspace(0, len(recorded) - 1, _MOST_ITERATIONS).round().astype(int)]
    rows = []
    for iteration, one in timesteps[timesteps["iteration"].isin(recorded)].groupby("iteration", sort=True):
        call = one[one["call"] == one["call"].max()].sort_values("time", ascending=reverse)
        cell = call["cell_gradient_norm"].to_numpy(dtype=np.float64)
        norm = np.hypot(call["total_gradient_norm"].to_numpy(dtype=np.float64), np.nan_to_num(cell))
        rate, lags = _slope(norm, floor)
        rows.append((iteration, rate, lags))
    return pd.DataFrame(rows, columns=["iteration", "rate", "lags"])


def rates_by_sequence(run: Run, layer: str, *, floor: float) -> pd.DataFrame:
    """Return what `rates_through_training` does, with lags counted from each sequence's own end.

    Args:
        run: The run.
        layer: One of its layers.
        floor: Norms at or below it are not fitted.

    Returns:
        Columns iteration, rate, lags.
    """
    recorded = np.unique(run.timesteps.loc[run.timesteps["layer"] == layer, "iteration"]).tolist()
    rows = []
    for iteration in evenly_spaced(recorded, _MOST_ITERATIONS):
        rate, lags = _slope(by_lag(pooled_norms(run, layer, [iteration])).mean(axis=1), floor)
        rows.append((iteration, rate, lags))
    return pd.DataFrame(rows, columns=["iteration", "rate", "lags"])


def _slope(profile: Float[np.ndarray, " lag"], floor: float) -> tuple[float, int]:
    from_loss = profile[int(np.argmax(profile != 0)) :] if (profile != 0).any() else profile[:0]
    above = np.isfinite(from_loss) & (from_loss > floor)
    usable = len(above) if above.all() else int(np.argmin(above))
    if usable < 2:
        return (-np.inf if usable == 1 and len(from_loss) > 1 and from_loss[1] == 0 else np.nan), usable
    first = min(max(1, usable // 10) if usable >= 4 else 0, usable - 2)
    size = np.log(from_loss[first:usable])
    lag = np.arange(len(size)) - (len(size) - 1) / 2
    return float(lag @ size / (lag @ lag)), usable

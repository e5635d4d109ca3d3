"""Whether the state itself grows along the sequence."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.analysis.student import student_t

_FEWEST_TIMES = 8


@dataclass(frozen=True)
class StateGrowth:
    """How the norm of the state changes over the second half of a sequence, over some iterations.

    Attributes:
        quantity: "hidden state", or "cell" of an LSTM, whose hidden state is bounded.
        exponent: p of the fit |state| ~ time^p: 0 for a state that has settled, 1/2 for a random walk, 1 for a
            running sum; a state that grows exponentially has no p, and a large one is what the fit gives.
        low: Lower end of its 95 % interval over the iterations; -inf with a single one.
        high: Upper end.
        factor: Median of |state| at the end over that in the middle.
        sustained: Median of log growth over the last quarter of the sequence over that in the quarter before: 1 where
            the state grows exponentially, 0.71 for any power of time, small where it only fills up from nothing.
        iterations: How many iterations it is from.
    """

    quantity: str
    exponent: float
    low: float
    high: float
    factor: float
    sustained: float
    iterations: int


def state_growth(timesteps: pd.DataFrame, *, reverse: bool = False) -> StateGrowth | None:
    """Return how the state grows along the sequence.

    Args:
        timesteps: Rows of one layer of a run's table: those of the iterations to judge.
        reverse: The layer reads from the last time to the first.

    Returns:
        None if no call has eight times with finite, positive norms in its second half.
    """
    quantity, column = (
        ("cell", "cell_norm") if timesteps["cell_norm"].notna().any() else ("hidden state", "hidden_norm")
    )
    fits = []
    for _, call in timesteps.groupby(["iteration", "call"], sort=True):
        fit = _fit(call.sort_values("time", ascending=not reverse)[column].to_numpy(dtype=np.float64))
        if fit is not None:
            fits.append(fit)
    if not fits:
        return None
    exponents, factors, sustained = np.array(fits).T
    half = math.inf
    if len(fits) > 1:
        half = student_t(len(fits) - 1) * float(exponents.std(ddof=1)) / math.sqrt(len(fits))
    mean = float(exponents.mean())
    return StateGrowth(
        quantity=quantity,
        exponent=mean,
        low=mean - half,
        high=mean + half,
        factor=float(np.median(factors)),
        sustained=float(np.median(sustained)),
        iterations=len(fits),
    )


def _fit(norms: Float[np.ndarray, " time"]) -> tuple[float, float, float] | None:
    times = np.arange(1, len(norms) + 1, dtype=np.float64)
    later = slice(len(norms) // 2, None)
    size, time = norms[later], times[later]
    if len(norms) < _FEWEST_TIMES or not np.isfinite(size).all() or not (size > 0).all():
        return None
    x = np.log(time) - np.log(time).mean()
    logs = np.log(size)
    middle = len(logs) // 2
    before, after = logs[middle] - logs[0], logs[-1] - logs[middle]
    sustained = after / before if before > 0 else 0.0
    return float(x @ logs / (x @ x)), float(size[-1] / size[0]), float(sustained)

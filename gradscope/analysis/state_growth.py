"""Whether the state itself grows along the sequence."""

import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradscope.analysis.bootstrap import student_t

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
        iterations: How many iterations it is from.
    """

    quantity: str
    exponent: float
    low: float
    high: float
    factor: float
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
    exponents, factors = np.array(fits).T
    half = math.inf
    if len(fits) > 1:
        half = student_t(len(fits) - 1) * float(exponents.std(ddof=1)) / math.sqrt(len(fits))
    mean = float(exponents.mean())
    return StateGrowth(quantity, mean, mean - half, mean + half, float(np.median(factors)), len(fits))


def _fit(norms: np.ndarray) -> tuple[float, float] | None:
    times = np.arange(1, len(norms) + 1, dtype=np.float64)
    later = slice(len(norms) // 2, None)
    size, time = norms[later], times[later]
    if len(norms) < _FEWEST_TIMES or not np.isfinite(size).all() or not (size > 0).all():
        return None
    x = np.log(time) - np.log(time).mean()
    return float(x @ np.log(size) / (x @ x)), float(size[-1] / size[0])

"""Growth that can be proven although the loss enters at many times."""

from collections.abc import Callable

import numpy as np
import pandas as pd
from jaxtyping import Int


def amplification(
    timesteps: pd.DataFrame,
    *,
    reverse: bool = False,
    present: Callable[[int, int], Int[np.ndarray, " time"]] | None = None,
) -> float:
    """Return how many times larger the total gradient gets than all direct gradients behind it together.

    If no time step made a gradient larger, the total gradient at a time could never exceed the sum of the direct
    gradients that enter there and later. So a value above 1 proves growth, by at least that factor, on some way.

    Args:
        timesteps: Rows of one layer of a run's table, sorted.
        reverse: The layer reads from the last time to the first.
        present: How many sequences there are at each time of an iteration and call; None where all are everywhere, or
            ever more on the gradient's way, as of packed sequences that are read forwards. Norms are means over those
            that are there: where fewer are left on that way, the mean of a few may be above that of all.

    Returns:
        The median over the recorded calls of the largest ratio in each; NaN if there is none.
    """
    ratios = []
    for _, rows in timesteps.groupby(["iteration", "call"], sort=False):
        call = rows.sort_values("time")
        direct = call["direct_gradient_norm"].to_numpy(dtype=np.float64)
        total = call["total_gradient_norm"].to_numpy(dtype=np.float64)
        if present is not None:
            count = present(int(call["iteration"].iloc[0]), int(call["call"].iloc[0]))
            direct, total = count * direct, count * total
        entered = np.cumsum(direct) if reverse else np.cumsum(direct[::-1])[::-1]
        known = (entered > 0) & np.isfinite(total) & np.isfinite(entered)
        if known.any():
            ratios.append(float((total[known] / entered[known]).max()))
    return float(np.median(ratios)) if ratios else np.nan

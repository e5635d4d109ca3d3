"""Growth that can be proven although the loss enters at many times."""

import numpy as np
import pandas as pd


def amplification(timesteps: pd.DataFrame, *, reverse: bool = False) -> float:
    """Return how many times larger the total gradient gets than all direct gradients behind it together.

    If no time step made a gradient larger, the total gradient at a time could never exceed the sum of the direct
    gradients that enter there and later. So a value above 1 proves growth, by at least that factor, on some way.

    Args:
        timesteps: Rows of one layer of a run's table, sorted.
        reverse: The layer reads from the last time to the first.

    Returns:
        The median over the recorded calls of the largest ratio in each; NaN if there is none.
    """
    ratios = []
    for _, call in timesteps.groupby(["iteration", "call"], sort=False):
        direct = call["direct_gradient_norm"].to_numpy(dtype=np.float64)
        total = call["total_gradient_norm"].to_numpy(dtype=np.float64)
        entered = np.cumsum(direct) if reverse else np.cumsum(direct[::-1])[::-1]
        known = (entered > 0) & np.isfinite(total) & np.isfinite(entered)
        if known.any():
            ratios.append(float((total[known] / entered[known]).max()))
    return float(np.median(ratios)) if ratios else np.nan

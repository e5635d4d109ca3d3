"""How often clipping fired, how hard, and what it did to the direction of the gradient."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

CLIPPED_BELOW = 1 - 1e-6
"""A coefficient of 1 up to rounding is a gradient that was left as it was."""


@dataclass(frozen=True)
class Quantiles:
    """The 10 %, 50 % and 90 % quantiles; NaN where there was nothing to take them of."""

    q10: float
    median: float
    q90: float


@dataclass(frozen=True)
class Clipping:
    """What clipping did over some iterations.

    Attributes:
        recorded: Iterations whose gradients were seen both before and after clipping.
        clipped: Those whose norm became smaller.
        clipped_share: Their share; NaN if nothing was recorded.
        norm: Of the norm before clipping.
        coefficient: Of norm after clipping over norm before.
        cosine: Of the cosine between the gradient before and after: 1 if only its length changed.
    """

    recorded: int
    clipped: int
    clipped_share: float
    norm: Quantiles
    coefficient: Quantiles
    cosine: Quantiles


def clipping_statistics(iterations: pd.DataFrame) -> Clipping:
    """Summarise clipping over a run's `iterations` table, or some rows of it.

    Args:
        iterations: With the columns gradient_norm, clip_coefficient and clip_cosine; rows without a coefficient were
            not recorded and do not count.

    Returns:
        Counts and quantiles.
    """
    recorded = iterations[iterations["clip_coefficient"].notna()]
    coefficient = recorded["clip_coefficient"].to_numpy(dtype=np.float64)
    clipped = int((coefficient < CLIPPED_BELOW).sum())
    return Clipping(
        recorded=len(recorded),
        clipped=clipped,
        clipped_share=clipped / len(recorded) if len(recorded) else np.nan,
        norm=quantiles(recorded["gradient_norm"].to_numpy(dtype=np.float64)),
        coefficient=quantiles(coefficient),
        cosine=quantiles(recorded["clip_cosine"].to_numpy(dtype=np.float64)),
    )


def quantiles(values: Float[np.ndarray, " value"]) -> Quantiles:
    """Return the 10 %, 50 % and 90 % quantiles of the values that are not NaN."""
    present = values[~np.isnan(values)]
    if not len(present):
        return Quantiles(np.nan, np.nan, np.nan)
    # Of the values themselves: between a finite and an infinite one there is nothing to interpolate.
    low, middle, high = np.quantile(present, [0.1, 0.5, 0.9], method="nearest")
    return Quantiles(float(low), float(middle), float(high))

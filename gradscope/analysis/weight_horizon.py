"""From how far back the gradient of the recurrent weights comes."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.analysis.clipping import quantiles
from gradscope.analysis.decay import HORIZON_SHARE
from gradscope.analysis.pooling import Phase, phase_iterations
from gradscope.runs import Run


@dataclass(frozen=True)
class WeightHorizon:
    """How many of the last times the gradient of the recurrent weights comes from.

    Attributes:
        times: Median over the iterations of the horizon's upper bound, see `horizon_bound`.
        low: Its 10 % quantile over the iterations.
        high: Its 90 % quantile.
        length: Times in the sequence: no horizon is longer.
        iterations: How many iterations it is from.
    """

    times: float
    low: float
    high: float
    length: int
    iterations: int


def horizon_bound(contributions: Float[np.ndarray, " time"], total: float, share: float = HORIZON_SHARE) -> int | None:
    """Return a number of last times that surely holds all but a small share of a weight's gradient g.

    The horizon is the smallest K with |g - (sum of g_t over the last K times)| <= share |g|. What is left out is at
    most the sum of the norms |g_t| of the earlier times, so the K at which that sum is small is never below the
    horizon: a bound from norms alone. Cancellation among early times can only make the true one shorter.

    Args:
        contributions: |g_t|, norm of what each time adds to g, in the order in which the layer reads.
        total: |g|.
        share: What may be left out.

    Returns:
        From 0 to the number of times; None where a number is not finite or the gradient is 0.
    """
    if not np.isfinite(contributions).all() or not 0 < total < np.inf:
        return None
    # Summed from the smallest lag outwards the small early terms would drown.
    earlier = np.cumsum(contributions)
    return len(contributions) - int(np.searchsorted(earlier, share * total, side="right"))


def run_weight_horizon(
    run: Run, layer: str, iterations: Sequence[int] | None = None, *, phase: Phase = "end"
) -> WeightHorizon | None:
    """Return how many of the last times the gradient of a layer's recurrent weights comes from.

    Args:
        run: The run.
        layer: One of its layers.
        iterations: Which; None for those of the phase.
        phase: "start" or "end": the first or the last quarter of the recorded iterations.

    Returns:
        None where the run does not hold it, see `horizons_through_training`.
    """
    course = horizons_through_training(run, layer)
    course = course[course["iteration"].isin(phase_iterations(run, layer, phase) if iterations is None else iterations)]
    if course.empty:
        return None
    found = quantiles(course["times"].to_numpy(dtype=np.float64))
    return WeightHorizon(found.median, found.q10, found.q90, int(course["length"].max()), len(course))


def horizons_through_training(run: Run, layer: str) -> pd.DataFrame:
    """Return the horizon's bound at each recorded iteration that holds it.

    Args:
        run: The run.
        layer: One of its layers.

    Returns:
        Columns iteration, times (see `horizon_bound`), length (times in the sequence). An iteration is left out where
        the recurrent weight has no row, and where the layer was called several times: the contributions are of one
        call, the sum of all.
    """
    timesteps = run.timesteps[run.timesteps["layer"] == layer]
    totals = _totals(run, layer)
    rows = []
    for iteration, one in timesteps.groupby("iteration", sort=True):
        total = totals.get(int(iteration))  # type: ignore[arg-type]  # the column is int64
        if total is None or one["time"].duplicated().any():
            continue
        ordered = one.sort_values("time", ascending=not layer.endswith("_reverse"))
        bound = horizon_bound(ordered["weight_gradient_norm"].to_numpy(dtype=np.float64), total)
        if bound is not None:
            rows.append((iteration, bound, len(one)))
    return pd.DataFrame(rows, columns=["iteration", "times", "length"])


def recurrent_weight(layer: str) -> tuple[str, ...]:
    """Return the names that a layer's recurrent weight may have: of a fused layer, of a cell."""
    module, _, suffix = layer.rpartition(".")
    prefix = f"{module}." if module else ""
    return f"{prefix}weight_hh_{suffix}", f"{layer}.weight_hh"


def _totals(run: Run, layer: str) -> dict[int, float]:
    rows = run.parameters[run.parameters["parameter"].isin(recurrent_weight(layer))]
    return dict(zip(rows["iteration"].astype(int), rows["gradient_norm"].astype(float), strict=True))

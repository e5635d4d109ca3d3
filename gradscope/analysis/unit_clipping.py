"""What clipping unit by unit (AGC) would have done, from norms of single units."""

from dataclasses import dataclass

import numpy as np

from gradscope.analysis.clipping import Quantiles, quantiles
from gradscope.analysis.counterfactual_bounds import AGC_LAMBDA, AGC_LEAST_WEIGHT
from gradscope.errors import UsageError
from gradscope.runs import Run


@dataclass(frozen=True)
class UnitClipping:
    """Adaptive gradient clipping, replayed on the gradients of a run.

    Attributes:
        scheme: Its name with its setting.
        recorded: Iterations that it was worked out for.
        clipped_share: Share of them in which some unit is clipped.
        unit_share: Share of all units and iterations that are.
        coefficient: Length that is left of the whole gradient, over the iterations.
    """

    scheme: str
    recorded: int
    clipped_share: float
    unit_share: float
    coefficient: Quantiles


def replay_agc(run: Run, strength: float = AGC_LAMBDA, least_weight: float = AGC_LEAST_WEIGHT) -> UnitClipping:
    """Replay adaptive gradient clipping: |g_i| <= strength max(|W_i|, least_weight) for every unit i.

    Brock et al. 2021, arXiv:2102.06171, who leave the last layer alone; here all parameters are clipped.

    Args:
        run: Recorded with `watch(also=["unit-norms"])`.
        strength: lambda of the paper.
        least_weight: Weights below it count as this large.

    Returns:
        What it would have done, had the gradients been the same.

    Raises:
        UsageError: The run holds no norms of units.
    """
    units = run.unit_norms
    units = units[np.isfinite(units["gradient_norm"].astype(float))]
    if units.empty:
        raise UsageError(f'The run {run.path} holds no norms of units: record it with watch(also=["unit-norms"]).')
    most = strength * np.maximum(units["weight_norm"], least_weight)
    left = np.minimum(units["gradient_norm"], most)
    clipped = units["gradient_norm"] > most
    by_iteration = units.assign(clipped=clipped, left=left**2, whole=units["gradient_norm"] ** 2).groupby("iteration")
    sums = by_iteration[["left", "whole"]].sum()
    lengths = np.sqrt((sums["left"] / sums["whole"]).to_numpy(dtype=np.float64))
    return UnitClipping(
        f"AGC({strength:.3g})",
        by_iteration.ngroups,
        float(by_iteration["clipped"].any().mean()),
        float(clipped.mean()),
        quantiles(lengths[np.isfinite(lengths)]),
    )

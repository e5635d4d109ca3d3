"""Which threshold to clip the norm at, and what clipping then is: a guard, or a limit on every step."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float

from gradscope.analysis.wording import number, percent

Role = Literal["guard", "step-size limiter"]

_FEWEST = 10
_LEAST_FACTOR = 3.0
_DEVIATIONS = 3.0
_RARE = 0.05
_NORMAL_DEVIATION_PER_MAD = 1.4826
"""Standard deviation of a normal distribution over the median of the absolute deviations from its median."""


@dataclass(frozen=True)
class ClipRecommendation:
    """A threshold for the norm of the whole gradient, with its reason.

    Attributes:
        role: "guard": it acts on rare outliers only. "step-size limiter": no threshold would stop the large gradients
            of this training and leave the others alone.
        threshold: The norm to clip at.
        clipped_share: Share of the later norms that it would have clipped.
        typical: Median of the later norms.
        largest: Largest norm of all.
        outliers: How many of all norms are above the threshold.
        recorded: How many norms there were.
        reason: In one or two sentences with the numbers.
    """

    role: Role
    threshold: float
    clipped_share: float
    typical: float
    largest: float
    outliers: int
    recorded: int
    reason: str


def recommend_threshold(norms: Float[np.ndarray, " iteration"]) -> ClipRecommendation | None:
    """Recommend a threshold for norm clipping.

    Judged by the later half, since gradients of the first iterations are of another size. A guard stands three
    deviations of log(norm) above the median, at least at three times the median; the deviation is taken from the
    median absolute one, which outliers do not move. If more than 5 % of the later norms are above that, they are not
    outliers but a part of this training, and the median is recommended: whatever clips there sets the size of steps.

    Args:
        norms: Finite norms before clipping, in order of iterations.

    Returns:
        The recommendation; None if fewer than ten later norms are positive.
    """
    later = norms[len(norms) // 2 :]
    logs = np.log(later[later > 0])
    if len(logs) < _FEWEST:
        return None
    middle = float(np.median(logs))
    deviation = _NORMAL_DEVIATION_PER_MAD * float(np.median(np.abs(logs - middle)))
    typical = math.exp(middle)
    guard = typical * max(_LEAST_FACTOR, math.exp(min(_DEVIATIONS * deviation, 700.0)))
    share = float((later > guard).mean())
    if share > _RARE:
        clipped = float((later > typical).mean())
        return _recommend("step-size limiter", typical, clipped, typical, norms, _why_limiter(share, guard, typical))
    return _recommend("guard", guard, share, typical, norms, _why_guard(norms, later, guard, typical))


def _recommend(
    role: Role, threshold: float, share: float, typical: float, norms: Float[np.ndarray, " iteration"], reason: str
) -> ClipRecommendation:
    return ClipRecommendation(
        role=role,
        threshold=threshold,
        clipped_share=share,
        typical=typical,
        largest=float(norms.max()),
        outliers=int((norms > threshold).sum()),
        recorded=len(norms),
        reason=reason,
    )


def _why_guard(
    norms: Float[np.ndarray, " iteration"], later: Float[np.ndarray, " later"], guard: float, typical: float
) -> str:
    above = int((norms > guard).sum())
    if not above:
        return (
            f"No gradient was larger than {number(guard)}, {number(guard / typical)} times the median: a guard there "
            "costs nothing and has had nothing to do."
        )
    largest = number(float(norms.max()) / typical)
    late = int((later > guard).sum())
    return (
        f"A guard at {number(guard)}, {number(guard / typical)} times the median, acts on {above} of {len(norms)} "
        f"gradients ({late} of them in the later half); the largest is {largest} times the median."
    )


def _why_limiter(share: float, guard: float, typical: float) -> str:
    return (
        f"{percent(share)} of the later gradients are above {number(guard)}, too many to be outliers: a threshold that "
        f"stops them sets the size of the steps. Begin at the median, {number(typical)}, which clips every other one, "
        "and tune it together with the learning rate."
    )

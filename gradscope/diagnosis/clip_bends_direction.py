"""Clipping turns the gradient into another direction."""

import math

from gradscope.analysis import clipping_statistics, percent
from gradscope.diagnosis.clipped import clipped_since, late_recorded
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_COSINE = 0.95
"""What clipping a gaussian gradient at one standard deviation does."""

_SHARE = 0.1


def find_clip_bends_direction(run: Run) -> Finding | None:
    """Return a finding if the clipped gradients of the later half point elsewhere than the gradients themselves."""
    late = late_recorded(run)
    found = clipping_statistics(late)
    if late.empty or found.clipped_share < _SHARE:
        return None
    bent = clipping_statistics(late[late["clip_coefficient"] < 1 - 1e-6]).cosine
    if math.isnan(bent.median) or bent.median >= _COSINE:
        return None
    angle = math.degrees(math.acos(max(-1.0, min(1.0, bent.median))))
    return Finding(
        code="clip-bends-direction",
        severity="warning",
        layer=None,
        message=(
            f"Clipping turns the gradient by {angle:.0f} degrees in the median (cosine {bent.median:.2f}) where it "
            f"fires, in {percent(found.clipped_share)} of the last {found.recorded} recorded iterations: the step no "
            "longer goes down the loss as steeply as its length says."
        ),
        evidence={
            "median_cosine": bent.median,
            "cosine_q10": bent.q10,
            "angle_degrees": angle,
            "clipped_share": found.clipped_share,
            "recorded": found.recorded,
        },
        advice=(
            "Clip the norm instead of single values: torch.nn.utils.clip_grad_norm_ keeps the direction.",
            "If values must be clipped, raise the threshold to several times the typical entry of the gradient.",
        ),
        meaning="Large entries are cut and small ones are not, so rare directions gain weight against strong ones.",
        reference="Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063 (norm clipping keeps the direction)",
        iteration=clipped_since(run),
    )

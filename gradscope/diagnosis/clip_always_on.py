"""Clipping fires nearly always: it is no guard any more but sets the size of every step."""

from gradscope.analysis import clipping_statistics, number, percent
from gradscope.diagnosis.clipped import clipped_since, late_recorded, recommendation
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_SHARE = 0.9


def find_clip_always_on(run: Run) -> Finding | None:
    """Return a finding if at least 90 % of the later half of the recorded iterations were clipped."""
    late = late_recorded(run)
    found = clipping_statistics(late)
    if late.empty or found.clipped_share < _SHARE:
        return None
    return Finding(
        code="clip-always-on",
        severity="warning",
        layer=None,
        message=(
            f"Clipping changed {percent(found.clipped_share)} of the last {found.recorded} recorded gradients and left "
            f"{percent(found.coefficient.median)} of their norm in the median: it sets the size of every step, so the "
            "learning rate is not what it says."
        ),
        evidence={
            "clipped_share": found.clipped_share,
            "recorded": found.recorded,
            "median_coefficient": found.coefficient.median,
            "median_norm": found.norm.median,
            "norm_q90": found.norm.q90,
        },
        advice=_advice(run, found.norm.q90),
        meaning=(
            "This is no guard against rare large gradients but a limit on the step: the gradient's size no longer "
            "matters, only its direction, and threshold and learning rate are one knob."
        ),
        reference="Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; Zhang et al. 2020, arXiv:1905.11881",
        iteration=clipped_since(run),
    )


def _advice(run: Run, norm_q90: float) -> tuple[str, ...]:
    replayed = recommendation(run)
    if replayed is None or replayed.role == "step-size limiter":
        threshold, why = norm_q90, "which nine in ten gradients stay below"
    else:
        threshold, why = replayed.threshold, f"which would have clipped {percent(replayed.clipped_share)} of these"
    return (
        f"As a guard against rare large gradients the threshold would be about {number(threshold)}, {why}; steps "
        "grow with it, so the learning rate has to be tuned anew.",
        "If this is wanted, say it by a normalised gradient or a smaller learning rate, and tune that one number.",
        "Look at why the gradients are as large as that: one that explodes through time, a sum instead of a mean in "
        "the loss, or unscaled targets.",
    )

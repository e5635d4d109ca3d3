"""Weights that have all but vanished since the start."""

from gradscope.analysis import percent
from gradscope.analysis.updates import WeightCourse, weight_courses, weight_matrices
from gradscope.diagnosis.course_of_loss import loss_fell
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_FEWEST = 10


def find_weights_shrunk(run: Run) -> Finding | None:
    """Return a finding if a weight matrix is down to a tenth of its size at the start, and the loss did not fall."""
    weights = run.parameters[run.parameters["parameter"].isin(weight_matrices(run))]
    courses = [course for course in weight_courses(weights) if course.recorded >= _FEWEST]
    shrunk = [course for course in courses if course.shrunk]
    if not shrunk or loss_fell(run):
        return None
    worst = min(shrunk, key=lambda course: course.growth)
    return Finding(
        code="weights-shrunk",
        severity="warning",
        layer=None,
        message=(f"{worst.parameter} is down to {percent(worst.growth)} of its size at the start{_others(shrunk)}."),
        evidence={
            "parameter": worst.parameter,
            "share_left": worst.growth,
            "first_norm": worst.first_norm,
            "last_norm": worst.last_norm,
            "weights_affected": len(shrunk),
        },
        advice=(
            "Lower the weight decay, or leave it out: AdamW takes the learning rate times weight_decay off every "
            "weight at each step.",
            "Look for a penalty on the weights in the loss, and at its factor.",
        ),
        meaning="Something pulls the weights to 0 faster than the loss can hold them: a layer without weights says "
        "nothing of its input, and sends no gradient back.",
        reference="Loshchilov & Hutter 2019, arXiv:1711.05101; Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063",
        iteration=None,
    )


def _others(shrunk: list[WeightCourse]) -> str:
    others = len(shrunk) - 1
    if not others:
        return ""
    return f", {others} more {'weight matrix' if others == 1 else 'weight matrices'} to a tenth or less"

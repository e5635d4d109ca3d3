"""Steps so small that the weights stay where they started."""

import numpy as np

from gradscope.analysis import number, percent
from gradscope.analysis.updates import HEALTHY_RATIO, WeightCourse, weight_courses, weight_matrices
from gradscope.diagnosis.course_of_loss import loss_fell
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_PATH = 0.01
_RATIO = 1e-4
_FEWEST = 20
_MOST_TIMES = 1e6
"""Above it a factor is no advice any more."""


def find_update_too_small(run: Run) -> Finding | None:
    """Return a finding if no weight matrix can have moved by 1 % of its size in the whole run.

    Updates that are small because training has converged are no fault: it must have been so from the start, and the
    loss, where it was logged, must not have gone down by a tenth.
    """
    weights = run.parameters[run.parameters["parameter"].isin(weight_matrices(run))]
    courses = [course for course in weight_courses(weights, _span(run)) if course.recorded >= _FEWEST]
    if not courses or any(_moves(course) for course in courses) or loss_fell(run):
        return None
    most = max(courses, key=lambda course: course.path)
    return Finding(
        code="update-too-small",
        severity="warning",
        layer=None,
        message=(
            f"In the {len(run.iterations):,} iterations of the run no weight matrix can have moved by more than "
            f"{percent(most.path)} of its size: a step changes it by {percent(most.ratio)} in the median, where 0.1 % "
            "is usual."
        )
        if most.path > 0
        else f"In the {len(run.iterations):,} iterations of the run no step changed any weight matrix.",
        evidence={
            "parameter": most.parameter,
            "ratio": most.ratio,
            "ratio_at_start": most.start_ratio,
            "path": most.path,
            "weights": len(courses),
        },
        advice=_advice(most),
        meaning="The weights are still those of the start: the run says nothing of what the model can learn.",
        reference="You, Gitman & Ginsburg 2017, arXiv:1708.03888",
        iteration=int(weights["iteration"].min()),
    )


def _advice(most: WeightCourse) -> tuple[str, ...]:
    if most.path == 0:
        return (
            "Check that the learning rate is not 0, and that the loss depends on the weights: a detach() or a mask on "
            "the way makes every gradient 0.",
        )
    times = HEALTHY_RATIO / most.ratio if most.ratio > 0 else np.inf
    return (
        f"Raise the learning rate, by up to {number(times)} times."
        if times < _MOST_TIMES
        else "Raise the learning rate.",
        "Check that the loss is not scaled down, and that clipping is not set far below the gradients' norm.",
        "Use an optimizer that divides by the gradient's size, such as Adam.",
    )


def _span(run: Run) -> tuple[int, int] | None:
    if run.iterations.empty:
        return None
    return int(run.iterations["iteration"].min()), int(run.iterations["iteration"].max())


def _moves(course: WeightCourse) -> bool:
    return course.path >= _PATH or course.ratio >= _RATIO or course.start_ratio >= _RATIO

"""Steps so small that the weights stay where they started."""

import numpy as np
import pandas as pd

from gradscope.analysis import number, percent
from gradscope.analysis.onset import first_lasting
from gradscope.analysis.updates import HEALTHY_RATIO, WeightCourse, update_ratios, weight_courses, weight_matrices
from gradscope.diagnosis.course_of_loss import loss_fell
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_PATH = 0.01
_RATIO = 1e-4
_FEWEST = 20
_STILL = 1e-8
"""Below what float32 resolves of a number."""

_STILL_FOR = 0.25
_FALLEN = 1e3
_MOST_TIMES = 1e6
"""Above it a factor is no advice any more."""


def find_update_too_small(run: Run) -> Finding | None:
    """Return a finding if no weight matrix can have moved by 1 % of its size in the whole run, or none moves any more.

    Updates that are small because training has converged are no fault: it must have been so from the start, or the
    learning rate itself must have fallen to next to nothing, and the loss, where it was logged, must not have gone down
    by a tenth.
    """
    weights = run.parameters[run.parameters["parameter"].isin(weight_matrices(run))]
    courses = [course for course in weight_courses(weights, _span(run)) if course.recorded >= _FEWEST]
    if not courses or loss_fell(run):
        return None
    if any(_moves(course) for course in courses):
        return _stopped(run, weights)
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


def _stopped(run: Run, weights: pd.DataFrame) -> Finding | None:
    largest = update_ratios(weights).groupby("iteration")["ratio"].max()
    since = first_lasting(largest.index.tolist(), (largest < _STILL).to_numpy())
    rates = run.iterations.set_index("iteration")["learning_rate"].dropna()
    if since is None or since not in rates.index or (largest.index >= since).mean() < _STILL_FOR:
        return None
    highest, then = float(rates.loc[:since].max()), float(rates.loc[since])
    if then * _FALLEN > highest or (largest.loc[since:] >= _STILL).any():
        return None
    return Finding(
        code="update-too-small",
        severity="warning",
        layer=None,
        message=(
            f"From iteration {since} on no step changed any weight matrix by more than a hundred-millionth of its "
            f"size. The learning rate had fallen from {number(highest)} to {number(then)} by then."
        ),
        evidence={"iteration": since, "learning_rate_highest": highest, "learning_rate_then": then},
        advice=(
            "Call the scheduler's step() as often as its numbers were meant for: most are counted in epochs, not in "
            "batches.",
            "Let the learning rate fall more slowly, or to a lowest value.",
        ),
        meaning="Training has stopped there, whatever the gradient says; nothing after it can be learned.",
        reference="PyTorch documentation, torch.optim: how to adjust learning rate",
        iteration=since,
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

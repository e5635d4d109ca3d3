"""Steps that rewrite the weights."""

import numpy as np
import pandas as pd

from gradscope.analysis import number, percent
from gradscope.analysis.clipping import Quantiles, quantiles
from gradscope.analysis.onset import first_lasting
from gradscope.analysis.updates import HEALTHY_RATIO, WeightCourse, update_ratios, weight_courses, weight_matrices
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_STEADY = 0.1
_FEWEST = 10
_THROWN = 0.3
_THROWN_FACTOR = 10.0


def find_update_too_large(run: Run) -> Finding | None:
    """Return a finding if updates stay above a tenth of a weight matrix, or a late one throws it.

    Steady: the median over the later half of the recorded iterations, so that weights which start near 0 and have to
    grow do not count, nor those that have all but vanished, which every step changes by a lot. Thrown: a single update
    in the last three quarters of at least three tenths of the weight, ten times what updates were until then.
    """
    weights = run.parameters[run.parameters["parameter"].isin(weight_matrices(run))]
    courses = [course for course in weight_courses(weights) if course.recorded >= _FEWEST and not course.shrunk]
    steady = max(courses, key=lambda course: course.ratio, default=None)
    if steady is not None and steady.ratio >= _STEADY:
        return _steady(weights, steady, sum(course.ratio >= _STEADY for course in courses))
    thrown = [one for course in courses if (one := _throw(weights, course.parameter)) is not None]
    return _thrown(*min(thrown)) if thrown else None


def _steady(weights: pd.DataFrame, worst: WeightCourse, affected: int) -> Finding:
    rows = _rows(weights, worst.parameter)
    spread = quantiles(_later(rows))
    return Finding(
        code="update-too-large",
        severity="warning",
        layer=None,
        message=(
            f"A step changes {worst.parameter} by {percent(worst.ratio)} of its size in the median of the later half, "
            f"where a thousandth is usual; so it is for {_weights(affected)}."
        ),
        evidence={
            "parameter": worst.parameter,
            **_evidence(spread),
            "ratio_at_start": worst.start_ratio,
            "weight_growth": worst.growth,
            "weights_affected": affected,
        },
        advice=(
            f"Lower the learning rate by about {number(worst.ratio / HEALTHY_RATIO / 10)} times and look again.",
            "Warm the learning rate up, and let it fall towards the end.",
            "Clip the norm of the gradient, if it is single large gradients that do it.",
        ),
        meaning=(
            "In a few steps the weight is another one: what was learned before is written over, and the loss jumps "
            "about instead of going down."
        ),
        reference=_REFERENCE,
        iteration=first_lasting(rows["iteration"].tolist(), (rows["ratio"] >= _STEADY).to_numpy()),
    )


def _thrown(iteration: int, parameter: str, ratio: float, before: float) -> Finding:
    return Finding(
        code="update-too-large",
        severity="warning",
        layer=None,
        message=(
            f"At iteration {iteration} one step changed {parameter} by {percent(ratio)} of its size, "
            f"{number(ratio / before)} times as much as steps did until then."
        ),
        evidence={"parameter": parameter, "iteration": iteration, "ratio": ratio, "median_ratio_before": before},
        advice=(
            "Clip the norm of the gradient: a guard that rarely acts keeps such a step from happening.",
            "Look at the batch of that iteration, and at the gradient's norm in it.",
            "Lower the learning rate.",
        ),
        meaning="One step threw the weights away from where training had brought them; what follows starts from there.",
        reference=_REFERENCE,
        iteration=iteration,
    )


_REFERENCE = "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; You, Gitman & Ginsburg 2017, arXiv:1708.03888"


def _throw(weights: pd.DataFrame, parameter: str) -> tuple[int, str, float, float] | None:
    rows = _rows(weights, parameter)
    ratio = rows["ratio"].to_numpy(dtype=np.float64)
    for index in range(max(1, len(ratio) // 4), len(ratio)):
        before = float(np.median(ratio[:index]))
        if ratio[index] >= _THROWN and ratio[index] >= _THROWN_FACTOR * before > 0:
            return int(rows["iteration"].iloc[index]), parameter, float(ratio[index]), before
    return None


def _rows(weights: pd.DataFrame, parameter: str) -> pd.DataFrame:
    return update_ratios(weights[weights["parameter"] == parameter])


def _later(rows: pd.DataFrame) -> np.ndarray:
    ratio = rows["ratio"].to_numpy(dtype=np.float64)
    return ratio[len(ratio) // 2 :]


def _evidence(spread: Quantiles) -> dict[str, float | int | str]:
    return {"ratio": spread.median, "ratio_q10": spread.q10, "ratio_q90": spread.q90}


def _weights(count: int) -> str:
    return "this weight matrix alone" if count == 1 else f"{count} weight matrices"

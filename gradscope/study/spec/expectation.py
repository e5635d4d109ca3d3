"""What was published, as a study file states it, and whether the study's own numbers show it again."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd

from gradscope.analysis.student import student_t
from gradscope.study.spec.study_spec import Expectation, Group

Outcome = Literal["reproduced", "contradicted", "not told apart", "not tried"]

COLUMNS = ("claim", "source", "task", "outcome", "detail")
"""Of the table: the claim, where it was published, the task it was held against, what came out, and the numbers."""

_SETTING = ["cell", "initialisation", "clipping"]
_MEASURES = {
    "loss": ("loss_final", -1),
    "share": ("share_at_lag", 1),
    "share-at-start": ("start_share_at_lag", 1),
    "half-life": ("half_life", 1),
    "shown-error": ("shown_error", -1),
}
_NAMES = {
    "loss": "loss",
    "share": "share of the gradient at the task's lag",
    "share-at-start": "share of the gradient at the task's lag as training begins",
    "half-life": "half-life",
    "shown-error": "error of what was shown at the end",
}


def held_against(expectations: Sequence[Expectation], trials: pd.DataFrame) -> pd.DataFrame:
    """Hold published claims against trials.

    A claim that one group of settings is better than another is tested seed by seed: reproduced if it holds with every
    seed and the 95 % interval (Student's t over the seeds' log ratios) agrees, contradicted if the opposite does. A
    claim that settings solve a task, or fail, is reproduced if all seeds do, contradicted if none does.

    Args:
        expectations: of the study file.
        trials: `Comparison.trials`.

    Returns:
        One row a claim and task.
    """
    rows = [row for one in expectations for row in _rows(one, trials)]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _rows(one: Expectation, trials: pd.DataFrame) -> Iterator[dict[str, Any]]:
    counted = trials[trials["status"] != "failed"]
    found = list(_compared(one, counted) if one.better else _solved(one, counted))
    if not found:
        found = [("", "not tried", "This run has no such settings")]
    for task, outcome, detail in found:
        yield {"claim": one.claim, "source": one.source, "task": task, "outcome": outcome, "detail": detail}


def _compared(one: Expectation, trials: pd.DataFrame) -> Iterator[tuple[str, Outcome, str]]:
    column, sign = _MEASURES[one.measure]
    better, worse = _matching(trials, one.better), _matching(trials, one.worse)
    if "task" in one.better and "task" in one.worse:
        tasks = [("", better, worse)]
    else:
        tasks = [
            (str(task), better[better["task"] == task], worse[worse["task"] == task])
            for task in trials["task"].unique()
        ]
    for task, good, bad in tasks:
        left, right = (_by_seed(part, column) for part in (good, bad))
        seeds = left.index.intersection(right.index)
        if len(seeds):
            logs = sign * (left[seeds] - right[seeds]).to_numpy(float)
            yield task, _judged(logs), _told(one, left[seeds], right[seeds], logs)


def _solved(one: Expectation, trials: pd.DataFrame) -> Iterator[tuple[str, Outcome, str]]:
    wanted = one.solves or one.fails
    matching = _matching(trials, wanted)
    for task, rows in matching[matching["solved_below"].notna()].groupby("task", sort=False):
        solved = int((rows["loss_final"] < rows["solved_below"]).sum())
        as_claimed = solved if one.solves else len(rows) - solved
        outcome: Outcome = "not told apart"
        if as_claimed in {0, len(rows)}:
            outcome = "reproduced" if as_claimed else "contradicted"
        low, high = _wilson(solved, len(rows))
        yield (
            str(task),
            outcome,
            (
                f"{solved} of {len(rows)} trials end below {rows['solved_below'].iloc[0]:.3g} "
                f"(95 % interval of that share {100 * low:.0f} to {100 * high:.0f} %){_solving(rows)}"
            ),
        )


def _solving(rows: pd.DataFrame) -> str:
    """Return which settings solve it, where several were tried and they differ."""
    solved = (rows["loss_final"] < rows["solved_below"]).groupby([rows[name] for name in _SETTING], sort=False)
    counts = solved.agg(["sum", "size"])
    if len(counts) < 2 or len(set(counts["sum"] / counts["size"])) == 1:
        return ""
    varied = [place for place, name in enumerate(_SETTING) if len(set(rows[name])) > 1]
    words = [
        f"{hits} of {size} with {' '.join(str(setting[place]) for place in varied)}"
        for setting, hits, size in counts.itertuples(name=None)
        if hits
    ]
    return f": {', '.join(words)}"


def _matching(trials: pd.DataFrame, wanted: Group) -> pd.DataFrame:
    for column, value in wanted.items():
        trials = trials[trials[column] == value]
    return trials


def _by_seed(trials: pd.DataFrame, column: str) -> pd.Series:
    """Return the logarithm of a measure for each seed, averaged over the settings that match."""
    with np.errstate(divide="ignore"):
        logs = np.log(trials[column].to_numpy(float))
    means: pd.Series = pd.Series(logs, index=trials["seed"].to_numpy()).dropna().groupby(level=0).mean()
    return means


def _judged(logs: np.ndarray) -> Outcome:
    """Return what the log ratios of all seeds say; a single seed says nothing sure."""
    if len(logs) < 2 or np.isnan(logs).any():
        return "not told apart"
    low, high = _interval(logs)
    if (logs > 0).all() and (low > 0 or math.isinf(logs.max())):
        return "reproduced"
    if (logs < 0).all() and (high < 0 or math.isinf(logs.min())):
        return "contradicted"
    return "not told apart"


def _told(one: Expectation, left: pd.Series, right: pd.Series, logs: np.ndarray) -> str:
    """Return the numbers in a sentence."""
    means = [_mean(side) for side in (left, right)]
    holds = int((logs > 0).sum())
    words = f"{_NAMES[one.measure]} {means[0]} against {means[1]}; as claimed with {holds} of {len(logs)} seeds"
    if len(logs) < 2:
        return f"{words}: one seed shows no spread"
    if not np.isfinite(logs).all():
        return f"{words}, some without bound"
    low, middle, high = (_number(math.exp(min(end, 700.0))) for end in sorted((*_interval(logs), float(logs.mean()))))
    return f"{words}; ratio in its favour {middle} (95 % interval {low} to {high})"


def _mean(logs: pd.Series) -> str:
    """Return the geometric mean over seeds, in words where it is none."""
    if np.isposinf(logs).any():
        return "infinity"
    return _number(math.exp(float(logs.mean())))


def _interval(logs: np.ndarray) -> tuple[float, float]:
    if not np.isfinite(logs).all():
        return math.nan, math.nan
    half = student_t(len(logs) - 1) * float(logs.std(ddof=1)) / math.sqrt(len(logs))
    return float(logs.mean()) - half, float(logs.mean()) + half


def _wilson(hits: int, trials: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share."""
    z = 1.96
    middle = (hits + z * z / 2) / (trials + z * z)
    half = z / (trials + z * z) * math.sqrt(hits * (trials - hits) / trials + z * z / 4)
    return max(0.0, middle - half), min(1.0, middle + half)


def _number(value: float) -> str:
    """Return three significant digits: with two, 66 and 68 would have the ratio 1."""
    return f"{value:.3g}"

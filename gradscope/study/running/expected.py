"""How long a study is going to take, before anything is trained."""

import math
import statistics
import time
from collections.abc import Sequence
from functools import cache

import numpy as np

from gradscope.runs.places import Place, each_of
from gradscope.study.running.groups import groups_of
from gradscope.study.spec.trial import Trial
from gradscope.study.training.attempt import finished_outcome
from gradscope.study.training.outcome import Outcome

# Seconds that one time of one training iteration took (forward, backward, and the recording of one iteration in eight),
# 32 units, 16 sequences; on the processor whose `_reference` is below. The share of each term was measured there too.
_PER_TIME = {"rnn_tanh": 50e-6, "rnn_relu": 50e-6, "lstm": 55e-6, "gru": 140e-6}
_OTHER = 300e-6  # a cell that is called once a time in Python
_PER_ITERATION = 0.7e-3
_PER_TRIAL = 0.15
# What is left of a trial's time where it is trained together with others: what is recorded is not shared.
_TOGETHER = 0.55
# Besides training: starting workers and drawing the page, and comparing each trial.
_AROUND = 8.0
_PER_COMPARED = 0.15
_REFERENCE = 0.006


def expected_seconds(trials: Sequence[Trial], folder: Place, workers: int, *, fresh: bool = False) -> float:
    """Guess how long the trials that are not finished on disk will take.

    Trials that are done already tell how fast this machine trains their cell. Where there are none, a table of
    measured costs is scaled by how fast this machine is now.

    Args:
        trials: of the study.
        folder: where their runs lie.
        workers: how many train at once; 0 counts as one.
        fresh: count the finished ones too, as if they were trained again.

    Returns:
        Seconds of wall time, 0 if nothing is left to train.
    """
    ids = [trial.id for trial in trials]
    outcomes = dict(zip(ids, each_of(finished_outcome, [folder / each for each in ids]), strict=True))
    left = [trial for trial in trials if fresh or outcomes[trial.id] is None]
    if not left:
        return 0.0
    pace = _pace([(trial, done) for trial in trials if (done := outcomes[trial.id]) is not None])
    groups = groups_of(left, workers)
    work = sum(_cost(trial, len(group)) for group in groups for trial in group)
    return _AROUND + _PER_COMPARED * len(trials) + work * pace / max(1, min(workers, len(groups)))


def in_words(seconds: float) -> str:
    """Say an expected time as roughly as it is known.

    Returns:
        For instance `about 40 s`, `about 3 minutes`, `about 2.5 hours`.
    """
    if seconds < 90:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    if seconds < 90 * 60:
        return f"about {round(seconds / 60)} minutes"
    return f"about {seconds / 3600:.1f} hours"


def _cost(trial: Trial, together: int) -> float:
    """Return the seconds that a trial takes on the processor of the table, as one of so many that train together."""
    size = max(1.0, math.sqrt(trial.hidden / 32)) * max(1.0, math.sqrt(trial.batch / 16))
    per_time = _PER_TIME.get(trial.cell, _OTHER)
    alone = trial.iterations * (_PER_ITERATION + trial.length * per_time * size)
    return _PER_TRIAL + alone * (1 if together == 1 else _TOGETHER)


def _pace(done: Sequence[tuple[Trial, Outcome]]) -> float:
    """Return how many times as long as in the table everything takes here."""
    measured = [one.seconds / _cost(trial, one.together) for trial, one in done if one.seconds > 0]
    return statistics.median(measured) if measured else _benchmark() / _REFERENCE


@cache
def _benchmark() -> float:
    """Return the seconds that a loop of small matrix products takes: the kind of work that a small network is."""
    generator = np.random.default_rng(0)
    weight, state = generator.random((32, 32)), generator.random((16, 32))
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        for _ in range(2000):
            state = np.tanh(state @ weight)
        best = min(best, time.perf_counter() - began)
    return best

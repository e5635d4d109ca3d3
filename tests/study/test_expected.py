"""The time that a study is going to take."""

import pytest

from gradscope.study.running.expected import expected_seconds, in_words
from gradscope.study.training.outcome import Outcome, write_outcome


def test_finished_trials_tell_the_pace(make_trial, tmp_path):
    """A trial of the same size that took 40 s foretells 40 s more for the other one, besides start and report."""
    trials = [make_trial(seed=seed, iterations=1000) for seed in (0, 1)]
    write_outcome(tmp_path / trials[0].id, Outcome(trials[0].id, seconds=40.0))

    expected = expected_seconds(trials, tmp_path, workers=2)

    assert expected == pytest.approx(48.3)
    assert expected_seconds(trials, tmp_path, workers=2, fresh=True) == expected
    assert expected_seconds(trials, tmp_path, workers=0, fresh=True) == pytest.approx(88.3)


def test_trials_that_train_together_take_less_each(make_trial, tmp_path, monkeypatch):
    """In as many groups as there are; and finished ones tell the pace of those that train alone."""
    monkeypatch.setattr("gradscope.study.running.expected._benchmark", lambda: 0.006)
    alone, together = ([make_trial(seed=s, iterations=4000, together=t) for s in range(8)] for t in (False, True))

    before = [expected_seconds(trials, tmp_path, workers=1) for trials in (alone, together)]
    for trial in together:
        write_outcome(tmp_path / trial.id, Outcome(trial.id, seconds=10.0, together=4))

    assert before[1] < 0.75 * before[0]
    assert expected_seconds(together, tmp_path, workers=1, fresh=True) == pytest.approx(80 + 9.2)
    assert expected_seconds(together[:2] + alone[:1], tmp_path, workers=1) > 15


def test_nothing_left_takes_no_time(make_trial, tmp_path):
    """All is on disk."""
    trial = make_trial()
    write_outcome(tmp_path / trial.id, Outcome(trial.id, seconds=1.0))

    assert expected_seconds([trial], tmp_path, workers=1) == 0


def test_more_work_takes_longer(make_trial, tmp_path):
    """Without anything on disk a table of costs tells cells, lengths and iterations apart."""
    base, gru, longer = (make_trial(iterations=500, **more) for more in ({}, {"cell": "gru"}, {"length": 80}))

    seconds = [expected_seconds([trial], tmp_path, workers=1) for trial in (base, gru, longer)]

    assert seconds[0] < seconds[1] < seconds[2]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1, "about 5 s"), (42, "about 40 s"), (100, "about 2 minutes"), (9000, "about 2.5 hours")],
)
def test_time_is_said_roughly(seconds, words):
    """Nobody knows it to the second."""
    assert in_words(seconds) == words

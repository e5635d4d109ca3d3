"""Trials that are trained as one program: each ends as it would by itself."""

import contextlib
import copy
import os
import signal
import time
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

from gradscope.runs import open_run
from gradscope.study.running.workers import run_on_cluster
from gradscope.study.spec.task_settings import make_task
from gradscope.study.training import together as shared_program
from gradscope.study.training import training
from gradscope.study.training.attempt import attempt_trials, finished_outcome
from gradscope.study.training.together import train_together
from gradscope.study.training.training import train_trial

TABLES = ("iterations", "timesteps", "parameters", "gates")


@pytest.fixture
def in_float64(monkeypatch):
    """Networks and data in float64, so that rounding and everything else can be told apart."""

    def task_of(trial):
        task = copy.copy(make_task(trial.kind, trial.options))
        drawn = task.batch

        def batch(rng, size):
            one = drawn(rng, size)
            floats = task.kind == "regression"
            return one._replace(
                inputs=one.inputs.astype(np.float64), targets=one.targets.astype(np.float64) if floats else one.targets
            )

        task.batch = batch
        return task

    monkeypatch.setattr(training, "_task", task_of)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def shared(monkeypatch):
    """Counts the iterations in which one program learned for all."""
    counts, learn = [], shared_program._learn

    def counted(training):
        counts.append(len(training))
        return learn(training)

    monkeypatch.setattr(shared_program, "_learn", counted)
    return counts


def _trained(trials, folder):
    """Train all together and each alone.

    Returns:
        For each trial the outcomes and the runs of both.
    """
    jobs = [(trial, folder / "together" / str(number)) for number, trial in enumerate(trials)]
    train_together(jobs)
    for number, (trial, place) in enumerate(jobs):
        alone = train_trial(trial, folder / "alone" / str(number))
        yield finished_outcome(place), alone, open_run(place), open_run(folder / "alone" / str(number))


def _assert_same(together, alone, rtol):
    for table in TABLES:
        found, expected = (getattr(run, table).drop(columns="seconds", errors="ignore") for run in (together, alone))
        assert len(expected) or table == "gates"
        # What is tiny is the rounding of larger numbers.
        pd.testing.assert_frame_equal(found, expected, check_exact=False, rtol=rtol, atol=rtol / 100)


TASKS = {
    "adding": {"options": {"length": 8}},
    "writing": {"options": {"text": "chinese", "length": 6, "summed": True}},
    "temporal-order": {"options": {}},
}
CLIPPINGS = ("none", "norm(0.5)", "value(0.01)", "autoclip", "zclip", "agc+value(0.1)")


@pytest.mark.parametrize(
    ("cell", "kind", "optimizer"),
    [
        ("rnn_tanh", "adding", "adam"),
        ("rnn_relu", "temporal-order", "rmsprop"),
        ("gru", "adding", "sgd"),
        ("gru", "writing", "adagrad"),
    ],
)
def test_training_and_recordings_are_those_of_each_alone(
    make_trial, tmp_path, in_float64, shared, cell, kind, optimizer
):
    """In float64, every clipping in one group, both losses, a schedule: losses, gradients and updates as alone."""
    options = TASKS[kind]["options"]
    common = {"task": kind, "kind": kind, "options": options, "cell": cell, "optimizer": optimizer}
    trials = [
        make_trial(
            **common, clipping=clipping, seed=seed, iterations=30, every=10, together=True, rate_schedule="cosine"
        )
        for seed, clipping in enumerate(CLIPPINGS)
    ]

    for together, alone, run, expected in _trained(trials, tmp_path):
        assert (together.status, together.iterations) == ("finished", 30)
        assert replace(together, seconds=0, together=1) == replace(alone, seconds=0)
        assert (together.together, alone.together) == (6, 1)
        _assert_same(run, expected, 1e-8)
    assert shared == [6] * 27


def test_single_precision_parts_by_rounding(make_trial, tmp_path):
    """As users train: the first recorded iteration is bit-identical, the later ones within a few roundings."""
    trials = [make_trial(cell="gru", seed=seed, iterations=20, every=4, together=True) for seed in range(3)]

    for _, _, run, expected in _trained(trials, tmp_path):
        first = [table.query("iteration == 0") for table in (run.timesteps, expected.timesteps)]
        pd.testing.assert_frame_equal(*first, check_exact=True)
        _assert_same(run, expected, 1e-3)


def test_a_trial_that_diverges_leaves_the_others_alone(make_trial, tmp_path, in_float64, shared):
    """It ends where and as it would by itself, and its NaN are nobody else's."""
    # Plain SGD at an absurd rate overflows; clipping by value holds the others.
    trials = [
        make_trial(
            seed=seed, clipping=clipping, cell="rnn_relu", optimizer="sgd", learning_rate=1e30, iterations=12, every=4
        )
        for seed, clipping in enumerate(["value(1e-31)", "none", "value(1e-31)"])
    ]

    found = list(_trained(trials, tmp_path))

    assert [one[0].status for one in found] == ["finished", "diverged", "finished"]
    for together, alone, run, expected in found:
        assert (together.reason, together.iterations) == (alone.reason, alone.iterations)
        _assert_same(run, expected, 1e-8)
    assert set(shared) == {2, 3}


def test_exhibits_are_taken_at_their_stops(make_trial, tmp_path):
    """What the task shows of each network."""
    common = {"task": "sine", "kind": "sine", "options": {}, "exhibits": (0, 3), "together": True}
    for together, alone, _, _ in _trained([make_trial(**common, seed=seed) for seed in range(2)], tmp_path):
        assert [one["iterations"] for one in together.exhibits] == [one["iterations"] for one in alone.exhibits]
        assert {one["iterations"] for one in together.exhibits} == {0, 3}


def test_a_folder_that_cannot_be_written_fails_alone(make_trial, tmp_path, shared):
    """The others are trained together all the same."""
    jobs = [(make_trial(seed=seed, together=True), tmp_path / str(seed)) for seed in range(3)]
    (tmp_path / "1").mkdir()
    (tmp_path / "1" / "diary.txt").write_text("mine", encoding="utf-8")

    outcomes = attempt_trials(jobs)

    assert [outcome.status for outcome in outcomes] == ["finished", "failed", "finished"]
    assert [outcome.together for outcome in outcomes] == [2, 1, 2]
    assert outcomes[1].reason.startswith("RunError: ")
    assert shared == [2] * 3


def test_after_an_exception_every_trial_is_trained_by_itself(make_trial, tmp_path, monkeypatch):
    """None is lost, and it is said."""

    def broken(training):
        raise ZeroDivisionError("no")

    monkeypatch.setattr(shared_program, "_learn", broken)
    jobs = [(make_trial(seed=seed, together=True), tmp_path / str(seed)) for seed in range(3)]

    with pytest.warns(RuntimeWarning, match="3 trials are trained one by one: ZeroDivisionError: no"):
        outcomes = attempt_trials(jobs)

    assert [(outcome.status, outcome.together) for outcome in outcomes] == [("finished", 1)] * 3


def test_a_recording_that_breaks_off_is_a_failure_of_its_own(make_trial, tmp_path, monkeypatch):
    """One recorder cannot write, in the middle of the training: the others finish."""
    from gradscope.runs import RunWriter

    write = RunWriter.write

    def full(self, tables):
        if self.path.name == "1":
            raise OSError(28, "No space left on device")
        return write(self, tables)

    monkeypatch.setattr(RunWriter, "write", full)
    jobs = [(make_trial(seed=seed, together=True), tmp_path / str(seed)) for seed in range(3)]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        outcomes = attempt_trials(jobs)

    assert [outcome.status for outcome in outcomes] == ["finished", "failed", "finished"]
    assert "No space left on device" in outcomes[1].reason


def test_what_is_finished_is_taken_from_disk(make_trial, tmp_path, shared):
    """Of a group that is given out again only the rest is trained, together."""
    jobs = [(make_trial(seed=seed, together=True), tmp_path / str(seed)) for seed in range(4)]
    first = attempt_trials(jobs[:2])
    shared.clear()

    outcomes = attempt_trials(jobs)

    assert outcomes[:2] == first
    assert shared == [2] * 3
    assert all(outcome.status == "finished" for outcome in outcomes)


def test_seconds_are_shares_of_the_groups_time(make_trial, tmp_path):
    """They add up to about the wall time, not to a multiple of it."""
    jobs = [(make_trial(seed=seed, together=True, iterations=60), tmp_path / str(seed)) for seed in range(4)]
    began = time.perf_counter()
    outcomes = attempt_trials(jobs)
    taken = time.perf_counter() - began

    assert 0.5 * taken < sum(outcome.seconds for outcome in outcomes) < 1.1 * taken


@pytest.mark.slow
def test_a_killed_worker_costs_no_trial(make_trial, tmp_path):
    """SIGKILL in the middle of two groups: they are given out again, and every trial ends once."""
    jobs = [
        (trial := make_trial(seed=seed, iterations=100, length=30, every=4, together=True), tmp_path / trial.id)
        for seed in range(8)
    ]
    results = run_on_cluster(jobs, workers=2)

    outcomes = next(results)
    servers = (child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline()))
    os.kill(next(worker.pid for server in servers for worker in server.children()), signal.SIGKILL)
    with contextlib.closing(results):
        outcomes += [outcome for ended in results for outcome in ended]

    assert sorted(outcome.trial for outcome in outcomes) == sorted(trial.id for trial, _ in jobs)
    assert {outcome.status for outcome in outcomes} == {"finished"}
    assert max(outcome.together for outcome in outcomes) == 2

"""Real worker processes, and what happens when one dies."""

import contextlib
import os
import signal
import socket
import time
from itertools import chain

import distributed
import psutil
import pytest
from distributed.comm import CommClosedError

from gradscope.errors import RunError
from gradscope.study.running import workers
from gradscope.study.running.local_cluster import local_cluster
from gradscope.study.running.workers import run_on_cluster
from gradscope.study.training.attempt import finished_outcome


def _worker_processes():
    # Forks of the process that has imported everything, which stays for the next cluster.
    servers = (child for child in psutil.Process().children() if "forkserver" in " ".join(child.cmdline()))
    return [worker for server in servers for worker in server.children()]


def _wait_until(condition):
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def another_cluster():
    """Dask's usual port is taken, as when two studies run side by side."""
    with socket.socket() as taken:
        with contextlib.suppress(OSError):  # taken already: as good
            taken.bind(("127.0.0.1", 8787))
            taken.listen()
        yield


@pytest.mark.slow
def test_killed_worker_is_replaced_and_every_trial_finishes(make_trial, tmp_path, another_cluster):
    """SIGKILL in the middle of a study loses no trial and leaves no process."""
    jobs = [(trial := make_trial(seed=seed, iterations=150, length=40), tmp_path / trial.id) for seed in range(8)]
    results = run_on_cluster(jobs, workers=2)

    outcomes = next(results)
    killed = _worker_processes()[0]
    os.kill(killed.pid, signal.SIGKILL)
    # The one in its place is such a fork too.
    _wait_until(lambda: killed not in (alive := _worker_processes()) and len(alive) == 2)
    outcomes += chain.from_iterable(results)

    assert sorted(outcome.trial for outcome in outcomes) == sorted(trial.id for trial, _ in jobs)
    assert {outcome.status for outcome in outcomes} == {"finished"}
    assert _worker_processes() == []


@pytest.mark.slow
def test_outcomes_whose_worker_died_before_they_were_fetched_are_found_again(make_trial, tmp_path):
    """Dask takes back that they were finished: that is no reason to say that its scheduler is gone."""
    jobs = [(trial := make_trial(seed=seed, length=8 + seed), tmp_path / trial.id) for seed in range(3)]
    results = run_on_cluster(jobs, workers=1)

    outcomes = next(results)
    _wait_until(lambda: all(finished_outcome(folder) for _, folder in jobs))
    time.sleep(0.5)  # for the news of it to come; what counts is that nobody asks before the worker dies
    ended = _worker_processes()[0]
    os.kill(ended.pid, signal.SIGKILL)
    _wait_until(lambda: ended not in (alive := _worker_processes()) and len(alive) == 1)
    outcomes += chain.from_iterable(results)

    assert sorted(outcome.trial for outcome in outcomes) == sorted(trial.id for trial, _ in jobs)
    assert {outcome.status for outcome in outcomes} == {"finished"}


def test_running_scheduler_is_used(make_trial, tmp_path):
    """Trials go to the workers of a cluster that the user started, which stays."""
    from distributed import LocalCluster

    jobs = [(trial := make_trial(seed=seed), tmp_path / trial.id) for seed in range(3)]
    with LocalCluster(
        n_workers=1,
        threads_per_worker=1,
        processes=False,
        host="127.0.0.1",
        protocol="tcp",
        dashboard_address="127.0.0.1:0",
    ) as cluster:
        outcomes = list(chain.from_iterable(run_on_cluster(jobs, workers=0, scheduler=cluster.scheduler_address)))

        assert cluster.status.name == "running"
    assert sorted(outcome.trial for outcome in outcomes) == sorted(trial.id for trial, _ in jobs)
    assert {outcome.status for outcome in outcomes} == {"finished"}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://here", "nonsense"])
def test_unreachable_scheduler_is_refused(make_trial, tmp_path, monkeypatch, address):
    """Nobody listens there, or it is no address: one message with an example."""
    monkeypatch.setattr(workers, "_CONNECT_SECONDS", 1)

    with pytest.raises(RunError, match=r"no Dask scheduler answers at .* expected an address such as"):
        list(run_on_cluster([(make_trial(), tmp_path / "run")], workers=0, scheduler=address))


def test_a_result_that_cannot_be_fetched_means_a_lost_scheduler():
    """The scheduler can die between the news that a trial has ended and what came of it."""

    class Finished:
        status = "finished"

        def result(self):
            raise CommClosedError("in ConnectionPool.gather: Stream is closed")

    with pytest.raises(RunError, match="lost the Dask scheduler"):
        workers._results(Finished(), [])


def test_processes_that_cannot_be_started_are_one_message(monkeypatch):
    """What the system said is in it, and what to do instead."""

    def refuse(**_):
        try:
            raise OSError(11, "Resource temporarily unavailable")
        except OSError as cause:
            raise RuntimeError("Nanny failed to start.") from cause

    monkeypatch.setattr(distributed, "LocalCluster", refuse)

    with pytest.raises(RunError, match=r"Resource temporarily unavailable.*--workers 0"), local_cluster(1):
        raise AssertionError("it started")

"""A real Dask scheduler and real workers, started by command line as on a cluster."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from itertools import chain
from pathlib import Path

import pytest

from gradscope.errors import RunError
from gradscope.study.running.runner import Setup, run_study
from gradscope.study.running.workers import run_on_cluster
from gradscope.study.spec.loading import load_study

pytestmark = pytest.mark.slow

DASK = Path(sys.executable).parent / "dask"


class Cluster:
    """`dask scheduler` and some `dask worker`, on loopback."""

    def __init__(self, folder, workers):
        self._folder = folder
        words = ["scheduler", "--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--no-show"]
        self.scheduler = self._start(*words, stderr=subprocess.PIPE, text=True)
        self.address = self._address()
        self.workers = []
        for _ in range(workers):
            self.add_worker()

    def add_worker(self):
        """Start one more."""
        words = ["worker", self.address, "--nthreads", "1", "--no-dashboard"]
        self.workers.append(self._start(*words, stderr=subprocess.DEVNULL))

    def _start(self, *words, **options):
        return subprocess.Popen(
            [DASK, *words], stdout=subprocess.DEVNULL, cwd=self._folder, start_new_session=True, **options
        )

    def _address(self):
        for line in self.scheduler.stderr:
            found = re.search(r"Scheduler at:\s+(tcp://\S+)", line)
            if found:
                # Read on, so that the scheduler never waits for a full pipe.
                threading.Thread(target=self.scheduler.stderr.read, daemon=True).start()
                return found[1]
        raise AssertionError("the scheduler ended before it said where it listens")

    def stop(self):
        """Kill whatever still runs."""
        for process in (*self.workers, self.scheduler):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=10)
        self.scheduler.stderr.close()


@pytest.fixture
def start_cluster(tmp_path):
    """Start a cluster with so many workers; it is gone after the test."""
    if not DASK.exists() and shutil.which("dask") is None:
        pytest.skip("needs the command `dask`")
    started = []

    def start(workers):
        (tmp_path / "cluster").mkdir(exist_ok=True)
        started.append(Cluster(tmp_path / "cluster", workers))
        return started[-1]

    yield start
    for cluster in started:
        cluster.stop()


@pytest.fixture
def jobs(make_trial, tmp_path):
    """Eight trials that take a while."""
    trials = [make_trial(seed=seed, iterations=150, length=40) for seed in range(8)]
    return [(trial, tmp_path / "runs" / trial.id) for trial in trials]


def test_worker_killed_in_the_middle_loses_nothing(start_cluster, jobs):
    """SIGKILL of one of two workers and its nanny: the other one trains its trials again, and all finish."""
    cluster = start_cluster(2)
    results = run_on_cluster(jobs, workers=0, scheduler=cluster.address)

    outcomes = next(results)
    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    outcomes += chain.from_iterable(results)

    assert sorted(outcome.trial for outcome in outcomes) == sorted(trial.id for trial, _ in jobs)
    assert {outcome.status for outcome in outcomes} == {"finished"}
    assert cluster.scheduler.poll() is None


def test_scheduler_without_workers_is_told_and_waited_for(start_cluster, make_trial, tmp_path):
    """As where a queue has not started them yet: one line says so, and the first worker that comes trains."""
    cluster, said = start_cluster(0), []
    trial = make_trial()
    results = run_on_cluster([(trial, tmp_path / "run")], workers=0, scheduler=cluster.address, say=said.append)

    threading.Timer(1, cluster.add_worker).start()
    outcomes = list(chain.from_iterable(results))

    assert [outcome.status for outcome in outcomes] == ["finished"]
    assert said == [
        f"{cluster.address} has no workers yet: waiting for them. They are started with `dask worker {cluster.address}`"
    ]


def test_workers_with_another_folder_of_that_name_are_told(start_cluster, make_trial, tmp_path, console, monkeypatch):
    """Trials that finished where this machine does not look: one message, not an empty report."""
    monkeypatch.setattr("gradscope.study.running.runner.read_outcome", lambda _: None)
    spec = load_study(_small(tmp_path), settings=["grid.seed=0..0", "training.iterations=3"])

    with pytest.raises(RunError, match=r"1 of 1 trials are finished, but not in .*every worker shares"):
        run_study(spec, Setup(tmp_path / "out", scheduler=start_cluster(1).address), console)


def _small(folder):
    (folder / "small.toml").write_text(STUDY, encoding="utf-8")
    return folder / "small.toml"


def test_killed_scheduler_is_one_message_and_the_next_run_goes_on(start_cluster, tmp_path):
    """From the shell: exit code 1, no traceback; the same command trains only the rest on another scheduler."""
    _small(tmp_path)
    words = [sys.executable, "-m", "gradscope", "study", "small.toml", "--out", "out", "--scheduler"]
    cluster = start_cluster(1)
    study = subprocess.Popen(
        [*words, cluster.address], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    runs = tmp_path / "out" / "runs" / "small"
    deadline = time.monotonic() + 60
    while not _ages(runs) and time.monotonic() < deadline:
        time.sleep(0.05)

    os.killpg(cluster.scheduler.pid, signal.SIGKILL)
    _, said = study.communicate(timeout=60)

    assert study.returncode == 1, said
    assert re.match(r"Error: lost the Dask scheduler\..*the same command goes on from there", said.splitlines()[-1]), (
        said
    )
    assert "Traceback" not in said, said
    cluster.stop()
    before = _ages(runs)
    assert 0 < len(before) < 8

    again = subprocess.run(
        [*words, start_cluster(1).address], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60
    )
    assert again.returncode == 0, again.stderr
    assert f"small: 8 trials, {len(before)} taken from disk, {8 - len(before)} to train on tcp://" in again.stderr
    assert len(_ages(runs)) == 8
    assert before.items() <= _ages(runs).items()
    assert (tmp_path / "out" / "small.html").exists()


def _ages(runs):
    """When each trial's outcome was written."""
    return {str(path): path.stat().st_mtime_ns for path in runs.glob("*/outcome.json")}


STUDY = """
name = "small"
title = "A small study"
question = "Does it run?"
[task.adding]
length = 40
[model]
hidden = 4
[training]
iterations = 150
batch = 3
[watch]
every = 2
[[grid]]
task = ["adding"]
cell = ["rnn_tanh"]
initialisation = ["default"]
seed = [0, 1, 2, 3, 4, 5, 6, 7]
"""

"""Two processes, one trial: one trains it, the other takes what came of it."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time

from gradscope.study.training.attempt import attempt_trials
from gradscope.study.training.turns import alone_with

_HOLDER = """
import sys, time
from pathlib import Path
from gradscope.study.training.turns import alone_with
with alone_with([Path(sys.argv[1])]):
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_processes_train_a_trial_once(make_trial, tmp_path):
    """Both get the one outcome, to the seconds that it took; before, each made the other fail."""
    jobs = [(make_trial(seed=seed, iterations=200), tmp_path / f"run{seed}") for seed in (0, 1)]

    with multiprocessing.get_context("spawn").Pool(2) as pool:
        here, there = pool.map(attempt_trials, [jobs, jobs[::-1]], chunksize=1)

    assert [outcome.status for outcome in here] == ["finished"] * 2
    assert here == there[::-1]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run0", "run1"]


def test_who_is_killed_keeps_nobody_waiting(tmp_path):
    """The system takes back what a dead process held."""
    words = [sys.executable, "-c", _HOLDER, str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        os.kill(holder.pid, signal.SIGKILL)
    began = time.monotonic()

    with alone_with([tmp_path / "run"]):
        pass

    assert time.monotonic() - began < 60
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_locked_is_left_to_itself(tmp_path):
    """What is wrong with it is for the training to say."""
    (tmp_path / "file").write_text("mine", encoding="utf-8")

    with alone_with([tmp_path / "file" / "run"]):
        assert (tmp_path / "file").read_text(encoding="utf-8") == "mine"

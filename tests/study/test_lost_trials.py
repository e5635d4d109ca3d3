"""Trials that raise, diverge or kill their worker: results of a study, never its end."""

import json

import dask
import distributed  # noqa: F401 - its configuration has to be there before a part of it is set
import pytest
from click.testing import CliRunner

from gradscope.cli import main
from gradscope.study.running.workers import run_on_cluster
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import load_study
from gradscope.study.training.outcome import read_outcome

pytestmark = pytest.mark.slow

MODULE = """
import os
import signal

import torch
from torch import nn


class Raises(nn.RNN):
    calls = 0

    def forward(self, *given):
        self.calls += 1
        if self.calls == 3:
            raise ValueError("the third batch is too much")
        return super().forward(*given)


class Explodes(nn.RNN):
    calls = 0

    def forward(self, *given):
        self.calls += 1
        outputs, state = super().forward(*given)
        return outputs * (torch.inf if self.calls == 3 else 1), state


class Kills(nn.RNN):
    def forward(self, *given):
        os.kill(os.getpid(), signal.SIGKILL)
"""

STUDY = """
name = "losing"
title = "A study with bad trials"
question = "What becomes of the others?"
[task.adding]
length = 8
[model]
hidden = 4
[training]
iterations = 6
batch = 3
[[grid]]
task = ["adding"]
cell = ["rnn_tanh", "bad_cells:Raises", "bad_cells:Explodes", "bad_cells:Kills"]
initialisation = ["default"]
seed = [0]
"""


@pytest.fixture
def study(tmp_path):
    """The study's file; the module beside it has the cells."""
    (tmp_path / "bad_cells.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "losing.toml").write_text(STUDY, encoding="utf-8")
    return tmp_path / "losing.toml"


def test_every_bad_end_is_in_the_report_with_its_reason(study, tmp_path):
    """The good trial is compared; what raised and what diverged stand on the terminal and in the report."""
    words = ["study", str(study), "--out", str(tmp_path / "out"), "--workers", "0"]
    only = "cell=rnn_tanh,bad_cells:Raises,bad_cells:Explodes"

    done = CliRunner().invoke(main, [*words, "--only", only], env={"COLUMNS": "200"})

    assert done.exit_code == 0, done.output
    assert "3 of 3 trials done, 0 running, 1 failed, 1 diverged" in done.output
    page = (tmp_path / "out" / "losing.html").read_text(encoding="utf-8")
    for end, reason in [
        ("failed: adding bad_cells:Raises", "ValueError: the third batch is too much"),
        ("diverged: adding bad_cells:Explodes", "its loss became NaN at iteration 2"),
    ]:
        assert f"{end} default none, seed 0: {reason}" in done.output
        assert reason in page


def test_bad_ends_are_told_beside_the_json(study, tmp_path):
    """On stderr, also where nothing was trained; so is that a mode changes nothing."""
    words = ["study", str(study), "--out", str(tmp_path / "out"), "--workers", "0", "--quick", "--json"]

    done = CliRunner().invoke(main, [*words, "--only", "cell=rnn_tanh,bad_cells:Raises"])

    assert len(json.loads(done.stdout)) == 2
    told = done.stderr.splitlines()
    assert told[0] == "losing has no [quick] table: --quick changes nothing"
    assert "failed: adding bad_cells:Raises default none, seed 0: ValueError: the third batch is too much" in told


def test_what_if_says_which_model_raised(study, tmp_path):
    """In one message, with what it raised."""
    words = ["study", "what-if", "--of", str(study), "--out", str(tmp_path), "--remedy", "clip-norm(1)"]

    done = CliRunner().invoke(main, [*words, "--only", "cell=bad_cells:Raises", "--set", "training.iterations=8"])

    assert done.exit_code == 1, done.output
    reason = "ValueError: the third batch is too much"
    assert f"Error: adding, bad_cells:Raises: {reason}. No report was written. Keep to others" in done.stderr


def test_trial_that_always_kills_its_worker_costs_no_other(study, tmp_path):
    """It is given out again, to a new worker, and then counts as failed; the others finish."""
    jobs = [(trial, tmp_path / trial.id) for trial in expand_grid(load_study(study))]
    jobs = [(trial, folder) for trial, folder in jobs if trial.cell in {"rnn_tanh", "bad_cells:Kills"}]

    # Two deaths instead of Dask's four: each costs the start of a worker.
    with dask.config.set({"distributed.scheduler.allowed-failures": 1}):
        outcomes = [outcome for ended in run_on_cluster(jobs, workers=1) for outcome in ended]

    assert {one.settings["cell"]: (one.status, one.reason) for one in outcomes} == {
        "rnn_tanh": ("finished", ""),
        "bad_cells:Kills": ("failed", "it killed 2 workers, one after the other"),
    }
    assert {read_outcome(folder).status for _, folder in jobs} == {"finished", "failed"}

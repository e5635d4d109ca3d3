"""A study of a user's own: cells, tasks, initialisations and clippings written in Python beside the TOML file."""

import json
import subprocess
import sys

import pytest

from gradscope.errors import UsageError
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import load_study

MODULE = """
import numpy as np
import torch
from torch import nn

from gradscope.study.additions import add_cell, add_clipping, add_initialisation, add_task
from gradscope.tasks import Batch, Task

print("imported")


class MyLayer(nn.RNN):
    def forward(self, *given):
        print("called")
        return super().forward(*given)


@add_cell("my-gru", meaning="nn.GRU under another name")
def my_gru(input_size, hidden_size):
    return nn.GRU(input_size, hidden_size)


@add_task("first", meaning="say the first number at the end")
class First(Task):
    kind = "regression"
    input_size = output_size = 1
    baseline = 1.0
    baseline_meaning = "always answering 0"

    def __init__(self, length: int = 12) -> None:
        self.length = length
        self.lag = length - 1

    def batch(self, rng, size):
        x = rng.standard_normal((self.length, size, 1)).astype(np.float32)
        return Batch(x, x[0])


@add_initialisation("halved", argument="optional")
def halved(module, number):
    for parameter in module.parameters():
        parameter.mul_(number or 0.5)


@add_clipping("sign", argument="required")
def sign(limit):
    def clip(network):
        for parameter in network.parameters():
            parameter.grad.sign_().mul_(limit)

    return clip
"""

STUDY = """
name = "own"
title = "My own"
question = "Does what I wrote run?"
modules = ["own_parts"]
[task.short]
kind = "first"
length = 10
[model]
hidden = 4
[training]
iterations = 6
batch = 3
[[grid]]
task = ["short", "own_parts:First"]
cell = ["own_parts:MyLayer", "my-gru"]
initialisation = ["default", "halved(0.25)"]
clipping = ["none", "sign(0.01)"]
seed = [0]
"""


@pytest.fixture
def own(tmp_path):
    """The two files in one folder."""
    (tmp_path / "own_parts.py").write_text(MODULE, encoding="utf-8")
    (tmp_path / "own.toml").write_text(STUDY, encoding="utf-8")
    return tmp_path


# In processes of their own: what a module adds to the tables stays there.
@pytest.mark.slow
@pytest.mark.parametrize("workers", ["0", "1"])
def test_own_parts_are_trained_and_compared(own, tmp_path_factory, workers):
    """From another folder, in this process and in workers: all 16 trials finish, and stand in the report by name.

    What the user's code prints does not come between the JSON.
    """
    words = [sys.executable, "-m", "gradscope", "study", str(own / "own.toml"), "--json", "--workers", workers]

    done = subprocess.run(
        [*words, "--out", str(own / "out")],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path_factory.mktemp("elsewhere"),
    )

    assert done.returncode == 0, done.stderr
    assert {"imported", "called"} <= set(done.stderr.splitlines())
    rows = json.loads(done.stdout)
    assert {row["cell"] for row in rows} == {"own_parts:MyLayer", "my-gru"}
    assert {row["task"] for row in rows} == {"short", "own_parts:First"}
    assert {row["initialisation"] for row in rows} == {"default", "halved(0.25)"}
    assert {row["clipping"] for row in rows} == {"none", "sign(0.01)"}
    assert {row["seeds"] for row in rows} == {1}
    assert {row["lag"] for row in rows if row["task"] == "short"} == {9}


@pytest.mark.slow
def test_changed_code_is_trained_again(own):
    """A trial's name follows from the code that it runs."""
    words = [sys.executable, "-m", "gradscope", "study", str(own / "own.toml"), "--dry-run", "--json"]
    ids = []
    for code in (MODULE, MODULE.replace("number or 0.5", "number or 0.25"), MODULE):
        (own / "own_parts.py").write_text(code, encoding="utf-8")
        found = subprocess.run(words, capture_output=True, text=True, check=True)
        ids.append([trial["trial"] for trial in json.loads(found.stdout)["trials"]])

    assert ids[0] == ids[2]
    assert not set(ids[0]) & set(ids[1])


def test_a_module_that_breaks_is_one_message(tmp_path):
    """What went wrong in the user's module is said with its name."""
    (tmp_path / "broken_parts.py").write_text("1 / 0", encoding="utf-8")
    (tmp_path / "own.toml").write_text(STUDY.replace("own_parts", "broken_parts"), encoding="utf-8")

    with pytest.raises(UsageError, match="cannot import 'broken_parts': ZeroDivisionError: division by zero"):
        load_study(tmp_path / "own.toml")


def test_initialisations_of_the_table_are_for_stock_layers(tmp_path):
    """A cell of one's own has no weights that gradscope could know; said before anything trains."""
    (tmp_path / "plain_parts.py").write_text("from torch import nn\nclass Cell(nn.RNN): pass", encoding="utf-8")
    text = STUDY.replace("own_parts:MyLayer", "plain_parts:Cell").replace('modules = ["own_parts"]', "")
    text = text.replace('"halved(0.25)"', '"identity"').replace(', "my-gru"', "").replace(', "sign(0.01)"', "")
    text = text.replace('kind = "first"', 'kind = "adding"').replace(', "own_parts:First"', "")
    (tmp_path / "own.toml").write_text(text, encoding="utf-8")

    with pytest.raises(
        UsageError, match=r"grid\.0: identity is for PyTorch's own layers, and this block also has plain"
    ):
        load_study(tmp_path / "own.toml")

    (tmp_path / "own.toml").write_text(text.replace(', "identity"', ""), encoding="utf-8")
    assert len(expand_grid(load_study(tmp_path / "own.toml"))) == 1

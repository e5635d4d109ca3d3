"""The command `gradscope overhead`: what it prints, not how fast this machine is."""

import json

import pytest
from click.testing import CliRunner

import gradscope.instrument.benchmark as benchmark
from gradscope.cli import main

TINY = ["--repetitions", "1", "--iterations", "2"]


@pytest.fixture
def tiny(monkeypatch):
    """Two cells at one small size."""
    monkeypatch.setattr(benchmark, "SIZES", (benchmark.Size(time=3, batch=2, hidden=4),))
    monkeypatch.setattr(benchmark, "CELLS", {name: benchmark.CELLS[name] for name in ("RNN", "LSTM")})


def _overhead(*words):
    return CliRunner(env={"COLUMNS": "120"}).invoke(main, ["overhead", *words])


@pytest.mark.usefixtures("tiny")
def test_table():
    """A line a cell with its size, and the words that explain the columns."""
    result = _overhead(*TINY)

    assert result.exit_code == 0
    rows = [line.split("│")[1:3] for line in result.stdout.splitlines() if line.startswith("│")]
    assert [[cell.strip() for cell in row] for row in rows] == [["RNN", "T3 N2 H4"], ["LSTM", "T3 N2 H4"]]
    assert "idle: one that is watched and not recorded" in result.stdout


@pytest.mark.usefixtures("tiny")
def test_json():
    """The same as data: ratios and milliseconds that are numbers above 0."""
    rows = json.loads(_overhead(*TINY, "--json").stdout)

    numbers = ("bare_milliseconds", "recorded", "idle", "default_schedule")
    assert [(row["cell"], row["size"]) for row in rows] == [("RNN", "T3 N2 H4"), ("LSTM", "T3 N2 H4")]
    assert all(row[name] > 0 for row in rows for name in numbers)


@pytest.mark.usefixtures("tiny")
def test_the_threads_of_the_caller_come_back():
    """It measures on one thread and leaves the number of threads as it was."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        _overhead(*TINY)
        after = torch.get_num_threads()
    finally:
        torch.set_num_threads(before)

    assert after == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repetitions", "-1"], "-1 is not in the range x>=1"),
        (["--iterations", "0"], "0 is not in the range x>=1"),
        (["--iterations", "many"], "'many' is not a valid integer"),
        (["--device", "abacus"], "--device expects cpu, or cuda where PyTorch sees a GPU, got 'abacus'"),
    ],
)
def test_wrong_use(words, message):
    """Exit code 2, one message, nothing measured."""
    result = _overhead(*words)

    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""

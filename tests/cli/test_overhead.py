"""The command `gradscope overhead`: what it prints, not how fast this machine is."""

import json

import pytest
from click.testing import CliRunner

import gradscope.instrument.overhead.peer_comparison as peer_comparison
from gradscope.cli import main
from gradscope.instrument.overhead.peers import CellLoop, Gradscope, Peer, RetainedOutput

TINY = ["--repetitions", "1", "--iterations", "2", "--cell", "RNN", "--cell", "lstm", "--size", "T3 N2 H4"]


@pytest.fixture(autouse=True)
def _short_turns(monkeypatch):
    """What is measured is not looked at here: turns of ten iterations will do."""
    monkeypatch.setattr("gradscope.instrument.overhead.trainings._SECONDS_OF_A_LONG_TURN", 0.0)


def _overhead(*words):
    return CliRunner(env={"COLUMNS": "150"}).invoke(main, ["overhead", *words])


def _cells(result):
    lines = [line.split("│")[1:-1] for line in result.stdout.splitlines() if line.startswith("│")]
    return [[cell.strip() for cell in line] for line in lines]


def test_table():
    """A line a cell with its size, and the words that explain the columns."""
    result = _overhead(*TINY)

    assert result.exit_code == 0, result.output
    assert [row[:2] for row in _cells(result)] == [["RNN", "T3 N2 H4"], ["LSTM", "T3 N2 H4"]]
    assert "idle: watched and not recorded" in result.stdout


def test_json():
    """The same as data: ratios and milliseconds that are numbers above 0."""
    rows = json.loads(_overhead(*TINY, "--json").stdout)

    numbers = ("bare_milliseconds", "recorded", "recorded_cpu", "idle", "default_schedule")
    assert [(row["cell"], row["size"]) for row in rows] == [("RNN", "T3 N2 H4"), ("LSTM", "T3 N2 H4")]
    assert all(row[name] > 0 for row in rows for name in numbers)


def test_a_stack_of_two_directions():
    """Layers and directions are part of a size, and it is printed as it can be typed again."""
    (row,) = json.loads(_overhead(*TINY[:4], "--cell", "GRU", "--size", "t4n2h3l2b", "--json").stdout)

    assert row["size"] == "T4 N2 H3 L2 bidirectional"
    again = json.loads(_overhead(*TINY[:4], "--cell", "GRU", "--size", row["size"], "--json").stdout)
    assert again[0]["size"] == row["size"]


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


class _Missing(Peer):
    title, package = "one that is not there", "a_package_that_nobody_has"


class _Broken(Peer):
    title = "one that fails"

    def after_backward(self, _):
        raise RuntimeError("its own trouble\nand more of it")


class _Norms(CellLoop):
    title = "norms only"

    def seen(self):
        return {"norms": super().seen()["h.grad"].norm(dim=2).mean(1), "others": self.inputs}


@pytest.fixture
def known_peers(monkeypatch):
    """Tools that are always there, and made ones that see less, fail or are missing."""
    monkeypatch.setattr(peer_comparison, "PEERS", (Gradscope, CellLoop, RetainedOutput, _Norms, _Missing, _Broken))


@pytest.mark.usefixtures("known_peers")
@pytest.mark.parametrize("cell", ["RNN", "GRU", "LSTM"])
def test_peers(cell):
    """Who sees the total gradient is found from the numbers; one that is missing or fails is said and ends nothing."""
    result = _overhead("--peers", "--repetitions", "1", "--cell", cell, "--size", "T5N2H3")

    assert result.exit_code == 0, result.output
    rows = _cells(result)
    assert [row[4] for row in rows] == [
        *["total gradient"] * 2,
        "direct gradient only",
        "total gradient",
        "not installed: pip install a_package_that_nobody_has",
        "failed: RuntimeError: its own trouble",
    ]
    assert [row[3].startswith("x") for row in rows] == [True] * 4 + [False] * 2


@pytest.mark.usefixtures("known_peers")
def test_peers_of_a_stack():
    """Below another layer the output's gradient is not even the direct one; a loop for each layer and direction is."""
    words = ("--peers", "--repetitions", "1", "--cell", "LSTM", "--size", "T5N2H3L2B", "--json")
    rows = {row["title"]: row["sees"] for row in json.loads(_overhead(*words).stdout)}

    assert rows["cell loop, retain_grad"] == rows["gradscope"] == peer_comparison.TOTAL
    assert rows["output.retain_grad"] == peer_comparison.NOTHING


def test_memory():
    """A short training is measured, and what is printed are megabytes."""
    words = ("--memory", "--cell", "GRU", "--size", "T4N2H3", "--iterations", "6")
    (row,) = json.loads(_overhead(*words, "--json").stdout)

    assert (row["iterations"], row["warm_up"]) == (6, 6)
    assert row["start_megabytes"] > 50
    assert row["largest_megabytes"] >= row["end_megabytes"] > 50
    assert row["run_megabytes"] > 0
    assert _cells(_overhead(*words))[0][:3] == ["GRU", "T4 N2 H3", "6"]


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--repetitions", "-1"], "-1 is not in the range x>=1"),
        (["--iterations", "0"], "0 is not in the range x>=1"),
        (["--iterations", "many"], "'many' is not a valid integer"),
        (["--device", "abacus"], "--device expects cpu, or cuda where PyTorch sees a GPU, got 'abacus'"),
        (["--size", "100x16"], "A size is written like T100N16H64"),
        (["--size", "T0N1H1"], "got 'T0N1H1'"),
        (["--cell", "QRNN"], "'QRNN' is not one of"),
        (["--peers", "--memory"], "ask for one of them"),
        (["--memory", "--device", "cuda"], "--memory is about the memory of the CPU"),
    ],
)
def test_wrong_use(words, message):
    """Exit code 2, one message, nothing measured."""
    result = _overhead(*words)

    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
    assert result.stdout == ""

"""The commands `gradscope study` and `gradscope studies`, as a user types them."""

import json
import os
import signal
import subprocess
import sys
import time

import psutil
import pytest
from click.testing import CliRunner

from gradscope.cli import main

SMALL = """
name = "small"
title = "A small study"
question = "Does it run?"
[task.adding]
length = 8
[model]
hidden = 4
[training]
iterations = 6
batch = 3
[watch]
every = 2
[[grid]]
task = ["adding"]
cell = ["rnn_tanh", "lstm"]
initialisation = ["default", "orthogonal"]
clipping = ["none", "norm(1.0)"]
seed = [0, 1]
"""


@pytest.fixture
def small(tmp_path):
    """A study that trains in a second."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return str(path)


def _gradscope(*words):
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.mark.parametrize("command", ["study", "studies"])
def test_help_shows_an_example(command):
    """--help ends with a line that can be copied."""
    result = _gradscope(command, "--help")

    assert result.exit_code == 0
    assert f"Example: gradscope {command}" in result.output


def test_studies_are_listed_with_their_questions_and_times():
    """Each with the time that it takes and its question; as JSON too."""
    lines = _gradscope("studies").output.splitlines()
    rows = json.loads(_gradscope("studies", "--json").output)

    names = [line.split()[0] for line in lines if not line.startswith(" ")]
    assert names == [row["name"] for row in rows]
    assert any("Vanishing and exploding gradients (about " in line for line in lines)
    assert {"name", "title", "question", "seconds", "quick_seconds"} == set(rows[0])
    for row in rows:
        assert " ".join(row["question"].split()) in " ".join(" ".join(lines).split())


def test_dry_run_prints_the_grid_and_writes_nothing(small, tmp_path):
    """Every trial with its id, the number of trials, no folder."""
    result = _gradscope("study", small, "--dry-run", "--out", tmp_path / "out", "--set", "grid.0.seed=[5]")

    assert result.exit_code == 0
    assert result.output.splitlines()[-1].startswith("8 trials; about ")
    assert "adding, lstm, orthogonal, clipping norm(1.0), seed 5" in result.output
    assert not (tmp_path / "out").exists()


def test_only_chooses_a_part_of_the_grid(small, tmp_path):
    """Conditions are joined, values of one are alternatives; as JSON with the expected time."""
    words = ["--dry-run", "--json", "--out", tmp_path, "--only", "cell=lstm", "--only", "seed=1,0", "--workers", "0"]
    found = json.loads(_gradscope("study", small, *words, "--only", "clipping=none").output)

    assert [(trial["cell"], trial["initialisation"], trial["seed"]) for trial in found["trials"]] == [
        ("lstm", "default", 0),
        ("lstm", "default", 1),
        ("lstm", "orthogonal", 0),
        ("lstm", "orthogonal", 1),
    ]
    assert found["workers"] == 0
    assert found["expected_seconds"] > 0


def test_only_trains_that_part_and_resume_takes_it_from_disk(small, tmp_path):
    """The report says that it is a part; a second call trains nothing, --fresh everything again."""
    words = ["study", small, "--out", tmp_path / "out", "--workers", "0", "--only", "cell=lstm", "--only", "seed=0"]

    first, second, third = (_gradscope(*words, *more) for more in ([], ["--resume"], ["--fresh"]))

    assert "small: 4 trials, 4 to train in this process" in first.output
    assert "small: 4 trials, 4 taken from disk, nothing to train" in second.output
    assert "small: 4 trials, 4 to train in this process" in third.output
    assert "cell=lstm, seed=0" in (tmp_path / "out" / "small.html").read_text(encoding="utf-8")
    assert _gradscope(*words, "--dry-run").output.splitlines()[-1] == "4 trials, all on disk"


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (["--workers", "-1"], 2, "--workers expects 0 (train in this process) or more, got -1"),
        (["--workers", "two"], 2, "'two' is not a valid integer"),
        (["--only", "cell=gru"], 2, "no trial has it. There are: rnn_tanh, lstm"),
        (["--only", "sell=gru"], 2, "there is no field 'sell', did you mean cell? Accepted: task, cell"),
        (["--only", "cell=lstm", "--only", "cell=rnn_tanh"], 2, "no trial of the grid is all of this. See --dry-run"),
        (["--only", "lstm"], 2, "--only expects field=value, got 'lstm'"),
        (["--quick", "--full"], 2, "--quick and --full exclude each other"),
        (["--set", "training.iteration=3"], 2, "training.iteration: unknown field, did you mean iterations?"),
        (["--set", "task.text.path=none.txt", "--set", 'grid.0.task=["text"]'], 2, "/none.txt: No such file"),
        (["--out", "/proc/gradscope"], 1, "cannot write into /proc/gradscope"),
    ],
)
def test_wrong_requests_get_one_message(small, words, code, message):
    """Exit code 2 for wrong usage, 1 for what cannot be done; no traceback, nothing trained."""
    result = _gradscope("study", small, *words)

    assert result.exit_code == code
    assert message in result.output
    assert "Traceback" not in result.output
    assert "trials" not in result.output


@pytest.mark.parametrize("name", ["small", "what-if", "truth"])
def test_a_page_that_cannot_be_written_is_said_first(small, tmp_path, monkeypatch, name):
    """A folder in its place: nothing is trained."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "reports" / f"{name}.html").mkdir(parents=True)

    result = _gradscope("study", small if name == "small" else name)

    assert result.exit_code == 2
    message = f"Error: The report needs a file to write to, but reports/{name}.html is a folder"
    assert result.output.startswith(message), result.output
    assert [path.name for path in (tmp_path / "reports").iterdir()] == [f"{name}.html"]


def test_unknown_study_suggests_near_names():
    """The whole message is one line."""
    result = _gradscope("study", "vanishin")

    assert result.exit_code == 2
    assert result.output.startswith("Error: there is no study 'vanishin', did you mean vanishing? Built in: ")


@pytest.mark.slow
def test_study_from_the_shell_in_worker_processes(small, tmp_path):
    """Two workers train it, the table and the report's path end the output; JSON and a second run come from disk."""
    words = [sys.executable, "-m", "gradscope", "study", small, "--out", str(tmp_path / "out"), "--workers", "2"]

    first = subprocess.run(words, capture_output=True, text=True, check=False)
    second = _gradscope(*words[3:], "--json")

    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines()[0] == "small: 16 trials, 16 to train on 2 workers"
    assert first.stdout.splitlines()[-1] == f"report: {tmp_path / 'out' / 'small.html'}"
    assert (tmp_path / "out" / "small.html").read_text(encoding="utf-8").startswith("<!doctype html>")
    assert "\x1b" not in first.stdout + first.stderr
    assert second.stderr.splitlines()[0] == "small: 16 trials, 16 taken from disk, nothing to train"
    rows = json.loads(second.stdout)
    assert len(rows) == 8
    assert {"task", "cell", "initialisation", "clipping", "verdict", "half_life"} <= set(rows[0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "send", "number", "more"),
    [
        ("0", os.killpg, signal.SIGINT, []),
        ("2", os.killpg, signal.SIGINT, []),
        ("2", os.kill, signal.SIGTERM, ["--fresh"]),
    ],
)
def test_interrupt_stops_cleanly_and_keeps_what_is_done(small, tmp_path, workers, send, number, more):
    """Ctrl-C, sent to the whole group as a terminal does, or SIGTERM: one line, exit code 1, nothing is left."""
    words = [sys.executable, "-m", "gradscope", "study", small, "--out", str(tmp_path / "out"), "--workers", workers]
    # With a name too long for a socket in it, in the last case.
    scratch = tmp_path / ("scratch" * (1 + 10 * bool(more)))
    scratch.mkdir()
    # Long enough that the interrupt comes in the middle on any machine.
    process = subprocess.Popen(
        [*words, "--set", "training.iterations=400", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, "TMPDIR": str(scratch)},
    )
    runs = tmp_path / "out" / "runs" / "small"
    wait_for_an_outcome(runs, process)
    children = psutil.Process(process.pid).children(recursive=True)

    send(process.pid, number)
    stdout, stderr = process.communicate(timeout=240)

    assert process.returncode == 1
    done = len(list(runs.glob("*/outcome.json")))
    assert 0 < done < 16
    last = stderr.splitlines()[-1]
    again = f"The same command{' without --fresh' * bool(more)} goes on from there"
    assert last == f"Error: interrupted: {done} of 16 trials are finished and kept. {again}"
    assert "Traceback" not in stderr
    assert stdout == ""
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []
    assert list(scratch.glob("gradscope-*")) == []
    assert not (tmp_path / "out" / "small.html").exists()


@pytest.mark.slow
def test_gallery_that_is_stopped_alone_stops_its_study(small, tmp_path):
    """A signal to its own process and no other: the study hears of it, and nothing trains on."""
    words = [sys.executable, "-m", "gradscope", "gallery", small, "--out", str(tmp_path / "out")]
    (tmp_path / "small.toml").write_text(SMALL.replace("iterations = 6", "iterations = 400"), encoding="utf-8")
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, start_new_session=True)
    wait_for_an_outcome(tmp_path / "out" / "runs" / "small", process)
    children = psutil.Process(process.pid).children(recursive=True)

    process.terminate()
    _, stderr = process.communicate(timeout=240)

    assert process.returncode == 1
    assert stderr.splitlines()[-1].startswith("Error: interrupted: the same command goes on from there")
    assert "Traceback" not in stderr
    _, alive = psutil.wait_procs(children, timeout=5)
    assert alive == []


def wait_for_an_outcome(runs, process):
    """Wait until a first trial has ended; a process that ended before says why."""
    while not list(runs.glob("*/outcome.json")):
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)

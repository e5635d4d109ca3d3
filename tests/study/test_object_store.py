"""A study whose runs and report lie in an object store."""

import json
import subprocess
import sys

import pytest
from click.testing import CliRunner

from gradscope.cli import main
from gradscope.runs import open_run

STUDY = """
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
cell = ["rnn_tanh"]
initialisation = ["default"]
seed = [0, 1]
"""
OUT = "s3://bucket/studies/today"


@pytest.fixture
def small(tmp_path):
    """The study's file."""
    (tmp_path / "small.toml").write_text(STUDY, encoding="utf-8")
    return str(tmp_path / "small.toml")


@pytest.mark.slow
def test_study_lives_in_a_store(store, small, tmp_path):
    """A worker process writes the runs there; page and table stand beside them; the next call finds it all."""
    words = [sys.executable, "-m", "gradscope", "study", small, "--out", OUT, "--workers", "1", "--json"]

    first = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False)

    assert first.returncode == 0, first.stderr
    assert first.stderr.splitlines()[-1] == f"report: {OUT}/small.html"
    assert store.objects["studies/today/small.html"].startswith(b"<!doctype html>")
    assert store.objects["studies/today/runs/small/comparison.csv"].startswith(b"trial,")
    ended = [name for name in store.objects if name.endswith("/outcome.json")]
    assert [json.loads(store.objects[name])["status"] for name in ended] == ["finished"] * 2
    run = open_run(f"s3://bucket/{ended[0].removesuffix('/outcome.json')}")
    assert (run.complete, len(run.iterations)) == (True, 6)

    second = CliRunner().invoke(main, ["study", small, "--out", OUT, "--dry-run"])
    assert second.output.splitlines()[-1] == "2 trials, all on disk"
    assert [path.name for path in tmp_path.iterdir()] == ["small.toml"]


@pytest.mark.parametrize(
    ("out", "code", "said"),
    [
        ("s3://elsewhere/out", 1, "cannot write into s3://elsewhere/out: there is no such bucket"),
        ("http://bucket/out", 2, "http://bucket: expected a folder, or a URL such as s3://bucket/folder"),
        ("s3://key:secret@bucket", 2, "credentials do not belong into the URL"),
    ],
)
def test_wrong_places_are_refused_before_training(store, small, out, code, said):
    """One message, no traceback, no secret, nothing trained."""
    result = CliRunner().invoke(main, ["study", small, "--out", out, "--workers", "0"])

    assert result.exit_code == code
    assert said in result.output
    assert "trials" not in result.output
    assert "secret@" not in result.output

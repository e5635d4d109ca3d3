"""The command `gradscope study what-if`, as a user types it."""

import json

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
iterations = 8
batch = 3
[[grid]]
task = ["adding"]
cell = ["rnn_tanh", "gru"]
initialisation = ["default", "orthogonal"]
seed = [4, 7]
"""


@pytest.fixture
def small(tmp_path):
    """A study whose models train in a second."""
    path = tmp_path / "small.toml"
    path.write_text(SMALL, encoding="utf-8")
    return str(path)


def _what_if(*words):
    return CliRunner().invoke(main, ["study", "what-if", *(str(word) for word in words)])


@pytest.mark.slow
def test_remedies_are_tried_and_a_page_written(small, tmp_path):
    """Every model with every remedy on the study's own seeds; what does not fit is said not to be tried."""
    result = _what_if("--of", small, "--remedy", "lstm", "--remedy", "clip-norm(1)", "--out", tmp_path / "out")

    assert result.exit_code == 0, result.output
    assert "adding, gru\n" in result.stdout
    assert "  lstm              not tried: the model holds no nn.RNN: it has nn.GRU" in result.stdout
    assert result.stdout.splitlines()[-1] == f"report: {tmp_path / 'out' / 'what-if.html'}"
    page = (tmp_path / "out" / "what-if.html").read_text(encoding="utf-8")
    assert page.startswith("<!doctype html>")
    assert "the model holds no nn.RNN: it has nn.GRU" in page
    assert page.count("<td>clip-norm(1)</td>") == 2


@pytest.mark.slow
def test_json_holds_the_tables(small, tmp_path):
    """Nothing else is on stdout, and no NaN; any seed of a study file will do."""
    seeds = ["--set", "grid.seed=[4, 9223372036854775807]"]
    words = ["--of", small, "--only", "cell=gru", "--remedy", "clip-norm(1)", "--out", tmp_path, "--json"]
    (model,) = json.loads(_what_if(*words, *seeds).stdout, parse_constant=pytest.fail)

    assert model["model"] == "adding, gru"
    assert [row["remedy"] for row in model["remedies"]] == ["unchanged", "clip-norm(1)"]
    assert model["remedies"][1]["seeds"] == 2
    assert model["remedies"][1]["loss_change_low"] <= model["remedies"][1]["loss_change"]
    assert model["not_tried"] == []


def test_dry_run_trains_nothing(small, tmp_path):
    """The models, the remedies and how many trainings that makes."""
    result = _what_if("--of", small, "--remedy", "lstm", "--dry-run", "--out", tmp_path / "out")

    assert result.stdout.splitlines() == [
        "adding, rnn_tanh, seeds 4, 7: lstm",
        "adding, gru, seeds 4, 7: lstm",
        "8 trainings at most, of 8 iterations",
    ]
    assert not (tmp_path / "out").exists()


def test_without_a_study_it_takes_what_vanishes(tmp_path):
    """Two models of the built-in study, the usual remedies."""
    found = json.loads(_what_if("--dry-run", "--json", "--out", tmp_path).stdout)

    assert [model["model"] for model in found["models"]] == ["adding, rnn_tanh", "adding, lstm"]
    assert {"orthogonal", "chrono", "lstm", "rate-schedule"} <= set(found["remedies"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--workers", "2", "--full"], "the study what-if does not know --full, --workers: leave that out"),
        (["--remedy", "lsmt"], "what_if knows no remedy 'lsmt', did you mean lstm?"),
        (["--of", "vanishin"], "there is no study 'vanishin', did you mean vanishing?"),
        (["--only", "cell=elman"], "no trial has it"),
    ],
)
def test_wrong_requests_get_one_message(words, message, tmp_path):
    """Exit code 2, nothing trained."""
    result = _what_if(*words, "--out", tmp_path / "out")

    assert result.exit_code == 2
    assert message in result.stderr
    assert not (tmp_path / "out").exists()


def test_other_studies_know_no_remedies(small):
    """The options say whose they are."""
    result = CliRunner().invoke(main, ["study", small, "--remedy", "lstm"])

    assert result.exit_code == 2
    assert result.stderr == "Error: the study " + small + " does not know --remedy: leave that out\n"

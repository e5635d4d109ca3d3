"""The command `gradscope study truth`, as a user types it."""

import dataclasses
import json

import pytest
from click.testing import CliRunner

from gradscope.cli import main
from gradscope.truth import catalogue, scalar_tanh, task_baselines, transient_growth


@pytest.fixture(autouse=True)
def _quick_cases(monkeypatch):
    """Three cases that take no time; all of them have tests of their own."""
    cases = (scalar_tanh.CASE, transient_growth.CASE, task_baselines.CASE)
    monkeypatch.setattr(catalogue, "CASES", cases)


def _truth(out, *words):
    return CliRunner().invoke(main, ["study", "truth", "--out", str(out), *words])


def _spoil(monkeypatch):
    """Add 1 to the first number of the first case."""
    case = scalar_tanh.CASE

    def run():
        outcome = case.run()
        first = outcome.checks[0]
        wrong = dataclasses.replace(first, got=first.got + 1)
        return dataclasses.replace(outcome, checks=(wrong, *outcome.checks[1:]))

    monkeypatch.setattr(catalogue, "CASES", (dataclasses.replace(case, run=run), transient_growth.CASE))


def test_a_page_is_written_and_the_answer_said(tmp_path):
    """One line a case on stderr; on stdout the page's path and the outcome."""
    result = _truth(tmp_path)

    assert result.exit_code == 0
    assert "T2  One tanh unit: 6 of 6 hold" in result.stderr
    assert result.stdout.splitlines() == [
        f"report: {tmp_path / 'truth.html'}",
        "All 14 numbers in 3 cases agree with closed forms and published values, each within the accuracy that is "
        "promised.",
    ]
    page = (tmp_path / "truth.html").read_text(encoding="utf-8")
    assert [f'id="{name}"' in page for name in ("t2", "t3", "t16", "made")] == [True] * 4
    assert page.count('<svg class="plot"') == 3
    assert '<meta name="description" content="All 14 numbers in 3 cases agree' in page


def test_json_holds_every_number(tmp_path):
    """Nothing else is on stdout."""
    rows = json.loads(_truth(tmp_path, "--json").stdout)

    assert len(rows) == 14
    assert rows[0] == {
        "case": "T2",
        "what": "exponent at g = 0.5",
        "expected": -0.693147,
        "got": pytest.approx(-0.6931472, abs=1e-7),
        "error": pytest.approx(1.8e-7, abs=1e-8),
        "tolerance": 1e-6,
        "holds": True,
    }
    assert all(row["holds"] for row in rows)


def test_a_wrong_number_is_a_failure_and_the_page_says_which(tmp_path, monkeypatch):
    """Exit code 1, with the page."""
    _spoil(monkeypatch)

    result = _truth(tmp_path)

    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1] == (
        "Error: 1 of 9 numbers in 2 cases does not agree within the accuracy that is promised."
    )
    page = (tmp_path / "truth.html").read_text(encoding="utf-8")
    assert "<li>T2: exponent at g = 0.5</li>" in page
    assert page.count(">NO</td>") == 1


@pytest.mark.parametrize(
    ("words", "options"),
    [
        (["--full"], "--full"),
        (["--of", "vanishing"], "--of"),
        (["--workers", "2", "--scheduler", "tcp://127.0.0.1:1"], "--workers, --scheduler"),
        (["--set", "training.iterations=3", "--only", "seed=0", "--dry-run"], "--set, --only, --dry-run"),
    ],
)
def test_what_a_grid_would_need_is_refused(tmp_path, words, options):
    """All such options in one message."""
    result = _truth(tmp_path / "out", *words)

    assert result.exit_code == 2
    assert result.stderr == f"Error: the study truth does not know {options}: leave that out\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(("out", "why"), [("/proc/gradscope", "No such file"), ("a-file", "File exists")])
def test_a_folder_that_cannot_be_written_is_said_first(tmp_path, monkeypatch, out, why):
    """Before any case runs."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a-file").touch()

    result = _truth(out)

    assert result.exit_code == 1
    assert f"cannot write into {out}" in result.stderr
    assert why in result.stderr
    assert "hold" not in result.output


def test_it_is_listed_and_found_by_a_near_name():
    """Beside the studies that are TOML files."""
    assert "\ntruth           Numbers that are known (about 60 s" in CliRunner().invoke(main, ["studies"]).output
    assert "'trueth', did you mean truth? Built in: " in CliRunner().invoke(main, ["study", "trueth"]).output

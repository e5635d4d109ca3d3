"""The README does what it says."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from gradscope.cli import main
from gradscope.runs import open_run
from tests.command_lines import parse

pytestmark = pytest.mark.xdist_group("readme")

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def _blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)


def _lines(program: str) -> list[str]:
    lines = "".join(_blocks("sh")).splitlines()
    return [line.partition(" #")[0].strip() for line in lines if line.startswith(f"{program} ")]


COMMANDS = _lines("gradscope")


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    """A folder in which the README's Python was run, from the first block to the last, as one script."""
    folder = tmp_path_factory.mktemp("readme")
    (folder / "readme.py").write_text("".join(_blocks("python")), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-W", "error", "readme.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    (folder / "said.txt").write_text(done.stdout, encoding="utf-8")
    return folder


@pytest.mark.slow
def test_python_runs_as_written(demo):
    """It trains, leaves a whole run and a page, and finds what the text says it finds."""
    run = open_run(demo / "runs" / "demo")

    assert run.complete
    assert run.layers == ["rnn.l0"]
    assert (demo / "demo.html").is_file()
    assert "error vanishing-gradient" in (demo / "said.txt").read_text(encoding="utf-8")


@pytest.mark.slow
def test_columns_are_those_of_a_run(demo):
    """Every column that a run has stands in the table's row, and nothing that it has not."""
    run = open_run(demo / "runs" / "demo")
    rows = re.findall(r"^\| `run\.(\w+)` \| ([\w, ]+) \| (.*) \|$", README, flags=re.MULTILINE)

    for table, keys, columns in rows:
        assert sorted([*keys.split(", "), *re.findall(r"`(\w+)`", columns)]) == sorted(getattr(run, table).columns)
    assert {table for table, _, _ in rows} == {"iterations", "timesteps", "parameters", "gates", "nonfinite"}


@pytest.mark.slow
@pytest.mark.parametrize("line", [line for line in COMMANDS if "runs/demo" in line])
def test_commands_on_the_run_do_what_they_say(line, demo, monkeypatch):
    """Reading the run works; what is asked to fail on an error does."""
    monkeypatch.chdir(demo)

    result = CliRunner().invoke(main, line.split()[1:])

    assert result.exit_code == (1 if "--fail-on" in line else 0)
    assert "Error:" not in result.output


@pytest.mark.parametrize("line", COMMANDS)
def test_commands_parse(line):
    """Each is understood, down to its last option."""
    assert line.split()[1] == parse(line).info_name


@pytest.mark.parametrize("line", [line for line in COMMANDS if "study vanishing" in line])
def test_studies_expand(line, tmp_path, monkeypatch):
    """Each way to call the built-in study leads to a grid of trials."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.txt").write_text("Wer reitet so spät durch Nacht und Wind? " * 30, encoding="utf-8")

    result = CliRunner().invoke(main, [*line.split()[1:], "--dry-run"])

    assert result.exit_code == 0
    assert re.search(r"^\d+ trials; about .+ on \d+ workers?$", result.output, flags=re.MULTILINE)


def test_make_knows_its_goals():
    """Every `make GOAL` of the README, in a block or in a sentence, is a goal of the Makefile."""
    goals = set(re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE))
    shown = {line.split()[1] for line in _lines("make")} | set(re.findall(r"`make ([a-z]+)", README))

    assert {"study", "test", "thorough", "lint", "types", "check", "gallery", "bench"} == shown
    assert shown <= goals


def test_links_lead_somewhere():
    """Files that the README links to are there; a report may be missing, where a study that writes it is there."""
    links = re.findall(r"\]\(([^)#:]+)\)", README) + re.findall(r'src(?:set)?="(.+?)"', README)
    # A source distribution comes without the gallery.
    written = {f"reports/{study.stem}.html" for study in (ROOT / "studies").glob("*.toml")}
    written |= {"reports/vanishing-light.png", "reports/vanishing-dark.png"}

    assert "studies/vanishing.toml" in links
    assert [link for link in links if link not in written and not (ROOT / link).is_file()] == []

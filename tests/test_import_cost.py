"""What each command imports: nobody waits for a library that a command does not need."""

import json
import subprocess
import sys

import pytest

from tests.command_lines import COMMANDS
from tests.planted import exponential, plant

HEAVY = {
    "torch",
    "pandas",
    "numpy",
    "seaborn",
    "matplotlib",
    "pyarrow",
    "dask",
    "distributed",
    "pydantic",
    "jinja2",
    "rich",
}

# In a process of its own, since this one has imported everything already.
_RUN = """
import json, sys
from gradscope.cli import main
main(sys.argv[1:], standalone_mode=False)
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def _imported_by(*words: str) -> set[str]:
    done = subprocess.run([sys.executable, "-c", _RUN, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def test_help_imports_nothing_heavy():
    """`gradscope --help` needs click alone."""
    assert _imported_by("--help") & HEAVY == set()


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_a_command_imports_nothing_heavy(command):
    """Nor does the help of any command."""
    assert _imported_by(command, "--help") & HEAVY == set()


def test_importing_gradscope_imports_nothing_heavy():
    """The public names load on first use."""
    words = "import gradscope, json, sys; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)

    assert set(json.loads(done.stdout)) & HEAVY == set()


@pytest.mark.slow
@pytest.mark.parametrize("words", [("diagnose",), ("diagnose", "--json"), ("report", "-o", "page.html")])
def test_reading_a_run_never_imports_torch(words, tmp_path, monkeypatch):
    """Whoever looks at a run on a laptop waits for pandas or a figure, never for torch."""
    monkeypatch.chdir(tmp_path)
    plant(tmp_path / "demo", lambda iteration: exponential(-0.2, seed=iteration))

    imported = _imported_by(words[0], "demo", *words[1:])

    assert "pandas" in imported
    assert "torch" not in imported


@pytest.mark.slow
@pytest.mark.parametrize("words", [("studies",), ("study", "vanishing", "--dry-run")])
def test_looking_at_a_study_never_imports_torch(words):
    """Nor does whoever only wants to know what there is to run."""
    assert "torch" not in _imported_by(*words)

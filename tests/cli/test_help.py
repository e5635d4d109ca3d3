"""What every command says of itself."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import gradscope
from gradscope.cli import main
from tests.command_lines import COMMANDS, parse


def _said(*words: str) -> str:
    result = CliRunner().invoke(main, words)
    assert result.exit_code == 0
    return result.output


def test_the_table_lists_what_there_is():
    """These eight, each with its line in --help."""
    table = _said("--help").partition("Commands:")[2]

    assert COMMANDS == ("study", "studies", "gallery", "run", "report", "diagnose", "view", "overhead")
    assert all(f"\n  {command} " in table for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_ends_with_an_example_that_parses(command):
    """The last line of every --help can be copied, and asks for nothing that the command does not know."""
    last = _said(command, "--help").rstrip().splitlines()[-1].strip()

    assert last.startswith(f"Example: gradscope {command}")
    assert parse(last.removeprefix("Example: ")).info_name == command


@pytest.mark.parametrize("command", COMMANDS)
def test_short_help_is_the_same(command):
    """-h says what --help says."""
    assert _said(command, "-h") == _said(command, "--help")


def test_the_example_of_the_whole_command_parses():
    """`gradscope --help` shows how to begin."""
    last = _said("--help").rstrip().splitlines()[-1].strip()

    assert parse(last.removeprefix("Example: ")).params["quick"] is True


def test_an_unknown_command_is_wrong_usage():
    """Exit code 2, and the word that was not understood."""
    result = CliRunner().invoke(main, ["studdy"])

    assert result.exit_code == 2
    assert "No such command 'studdy'" in result.output


@pytest.mark.parametrize("program", [["-m", "gradscope"], ["-c", "from gradscope.cli import main; main()"]])
def test_version(program):
    """`python -m gradscope` is the installed command."""
    done = subprocess.run([sys.executable, *program, "--version"], capture_output=True, text=True, check=True)

    assert done.stdout == f"gradscope, version {gradscope.__version__}\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
@pytest.mark.parametrize("words", [["--help"], ["studies", "--help"], ["study", "sine", "--dry-run"]])
def test_output_to_a_full_disk_is_one_message(words):
    """On the error stream, without a traceback."""
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gradscope", *words], stdout=full, stderr=subprocess.PIPE, text=True
        )
    assert (done.returncode, done.stderr) == (1, "Error: cannot write the output: No space left on device.\n")


def test_a_pipe_that_knows_ascii_only(tmp_path, monkeypatch):
    """What it cannot take is written as an escape: no traceback."""
    words = ["study", "product", "--quick", "--workers", "0", "--out", str(tmp_path / "caf\u00e9")]
    pipe = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(pipe, encoding="ascii", write_through=True))

    main.main(words, standalone_mode=False)

    assert pipe.getvalue().endswith(b"caf\\xe9/product.html\n")

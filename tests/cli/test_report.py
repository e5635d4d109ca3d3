"""`gradscope report`: the page, and one message for each mistake."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from gradscope.cli import main
from tests.reporting.made_run import write_run

pytestmark = pytest.mark.xdist_group("report")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small run."""
    return write_run(tmp_path_factory.mktemp("runs") / "demo", iterations=4)


def _report(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["report", *(str(argument) for argument in arguments)])


def test_one_run(run: Path, tmp_path: Path) -> None:
    """The path of the page is all that is printed."""
    done = _report(run, "-o", tmp_path / "page.html")
    assert (done.exit_code, done.output) == (0, f"{tmp_path / 'page.html'}\n")
    assert "<h1>demo</h1>" in (tmp_path / "page.html").read_text()


def test_several_runs(run: Path, tmp_path: Path) -> None:
    """Several runs share a page."""
    other = write_run(tmp_path / "other", iterations=2)
    done = _report(run, other, "--output", tmp_path / "page.html")
    assert done.exit_code == 0
    assert "<h1>demo and other</h1>" in (tmp_path / "page.html").read_text()


def test_the_page_is_named_after_the_run(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without -o it is put into the folder where one stands."""
    monkeypatch.chdir(tmp_path)
    assert _report(run).output == "demo.html\n"
    assert _report(run, run).output == "runs.html\n"


def test_half_of_a_surrogate_pair_in_the_metadata(tmp_path: Path) -> None:
    """As in the name of a file that is not UTF-8: shown as an escape."""
    run = write_run(tmp_path / "demo", iterations=2, metadata={"data": "caf\udce9.csv"})
    done = _report(run, "-o", tmp_path / "page.html")
    assert done.exit_code == 0
    assert "caf\\udce9.csv" in (tmp_path / "page.html").read_text(encoding="utf-8")


def _said(done: Result, code: int) -> str:
    """Return the one message of a failure."""
    assert done.exit_code == code
    assert "Traceback" not in done.output
    assert done.output.count("Error:") == 1
    return done.output


def test_no_run_given() -> None:
    """The usage says what is missing."""
    assert "Missing argument 'RUN...'" in _said(_report(), 2)


def test_a_missing_folder(tmp_path: Path) -> None:
    """It is named."""
    assert "does not exist" in _said(_report(tmp_path / "nowhere", "-o", tmp_path / "page.html"), 1)


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    """It is said what a run has."""
    assert "run.json" in _said(_report(tmp_path, "-o", tmp_path / "page.html"), 1)


def test_a_damaged_run_keeps_the_old_page(tmp_path: Path) -> None:
    """The damaged file is named, and the page from before is untouched."""
    folder = write_run(tmp_path / "demo", iterations=2)
    (folder / "run.json").write_text('{"format": ')
    page = tmp_path / "page.html"
    page.write_text("earlier")
    assert "run.json" in _said(_report(folder, "-o", page), 1)
    assert page.read_text() == "earlier"


def test_what_is_no_file_is_left_as_it_is(run: Path, tmp_path: Path) -> None:
    """A pipe is not replaced by the page; through a link the file is written that it leads to."""
    os.mkfifo(tmp_path / "pipe")
    assert "is a device or a pipe" in _said(_report(run, "-o", tmp_path / "pipe"), 2)
    assert (tmp_path / "pipe").is_fifo()
    (tmp_path / "page.html").write_text("old", encoding="utf-8")
    (tmp_path / "link.html").symlink_to("page.html")
    assert _report(run, "-o", tmp_path / "link.html").exit_code == 0
    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").read_text(encoding="utf-8") != "old"


def test_a_missing_output_folder(run: Path, tmp_path: Path) -> None:
    """The folder that has to be made is named."""
    assert "there is no folder" in _said(_report(run, "-o", tmp_path / "nowhere" / "page.html"), 2)


def test_an_output_that_is_a_folder(run: Path, tmp_path: Path) -> None:
    """A file inside it is offered."""
    assert "is a folder; try" in _said(_report(run, "-o", tmp_path), 2)


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder that not even root can write to")
def test_an_output_folder_that_cannot_be_written(run: Path) -> None:
    """It is said where and why."""
    assert "cannot be written to /proc/page.html" in _said(_report(run, "-o", "/proc/page.html"), 1)


def test_a_full_disk(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the system answers is passed on, and the page from before is untouched."""
    page = tmp_path / "page.html"
    page.write_text("earlier")

    def refuse(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gradscope.runs.places.Path.write_bytes", refuse)
    assert "No space left on device" in _said(_report(run, "-o", page), 1)
    assert page.read_text() == "earlier"


def test_help_has_an_example() -> None:
    """The epilog shows a whole command."""
    assert "Example: gradscope report runs/demo -o demo.html" in _report("--help").output


@pytest.mark.slow
def test_a_report_never_imports_torch(run: Path, tmp_path: Path) -> None:
    """The command in a process of its own: torch stays out of it."""
    code = (
        "import sys; from gradscope.cli import main\n"
        "try: main(['report', *sys.argv[1:]])\n"
        "except SystemExit as end: print('exit', end.code, 'torch' in sys.modules)"
    )
    arguments = [sys.executable, "-c", code, str(run), "-o", str(tmp_path / "page.html")]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "exit 0 False"


@pytest.mark.slow
def test_help_imports_nothing_heavy() -> None:
    """Loading the command's module costs none of what its body needs."""
    heavy = {"torch", "pandas", "seaborn", "matplotlib", "pyarrow", "jinja2"}
    code = f"import sys, gradscope.cli.report; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"

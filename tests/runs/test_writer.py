"""A run folder is made once, never by accident over something else, and one flush is whole or absent."""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from gradscope.errors import RunError
from gradscope.runs import RunWriter, open_run
from tests.planted import exponential, flush


def test_a_run_is_readable_before_it_is_closed(tmp_path):
    """What is flushed is there for readers at once, and the run counts as incomplete until it is closed."""
    writer = RunWriter(tmp_path / "demo", {"dtype": "float32"})
    writer.write(flush(0, exponential(-0.1)))
    before = open_run(tmp_path / "demo")
    writer.write(flush(1, exponential(-0.1)))
    writer.close({"recorded": 2})
    after = open_run(tmp_path / "demo")
    assert [list(before.iterations["iteration"]), list(after.iterations["iteration"])] == [[0], [0, 1]]
    assert (before.complete, after.complete) == (False, True)
    assert after.metadata == {"dtype": "float32", "recorded": 2}


def test_a_run_is_not_overwritten_unless_asked(tmp_path):
    """The refusal names overwrite=True and leaves every file as it was."""
    RunWriter(tmp_path, {"attempt": 1}).write(flush(0))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(RunError, match="overwrite=True"):
        RunWriter(tmp_path, {"attempt": 2})
    assert before == {path.name: path.read_bytes() for path in tmp_path.iterdir()}


def test_overwriting_replaces_the_run_and_nothing_else(tmp_path):
    """The old run's parts go, a file that is not a run's own stays."""
    old = RunWriter(tmp_path, {"attempt": 1})
    old.write(flush(0, exponential(-0.1)))
    old.write(flush(1, exponential(-0.1)))
    (tmp_path / "notes.txt").write_text("mine")
    new = RunWriter(tmp_path, {"attempt": 2}, overwrite=True)
    new.write(flush(7))
    run = open_run(tmp_path)
    assert (run.metadata["attempt"], list(run.iterations["iteration"]), len(run.timesteps)) == (2, [7], 0)
    assert len(list(tmp_path.iterdir())) == 3
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_writer_whose_run_was_overwritten_stops(tmp_path):
    """The first of two writers in a folder is told, and adds nothing to the second one's run."""
    first = RunWriter(tmp_path, {})
    second = RunWriter(tmp_path, {}, overwrite=True)
    second.write(flush(0))
    with pytest.raises(RunError, match="Another process"):
        first.write(flush(1))
    with pytest.raises(RunError, match="Another process"):
        first.close()
    assert list(open_run(tmp_path).iterations["iteration"]) == [0]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_that_is_not_a_run_is_never_written_to(tmp_path, overwrite):
    """Somebody's folder is refused even with overwrite=True."""
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(RunError, match=r"not empty and is not a run"):
        RunWriter(tmp_path, {}, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_run_json_of_another_program_is_not_overwritten(tmp_path):
    """A run.json that gradscope did not write protects its folder."""
    (tmp_path / "run.json").write_text('{"name": "another tool"}')
    with pytest.raises(RunError, match="Nothing was overwritten"):
        RunWriter(tmp_path, {}, overwrite=True)
    assert (tmp_path / "run.json").read_text() == '{"name": "another tool"}'


def test_an_empty_folder_and_one_left_by_a_kill_are_taken(tmp_path):
    """A lone unfinished run.json is nobody's run."""
    (tmp_path / ".run.json.tmp").write_text('{"form')
    RunWriter(tmp_path, {}).write(flush(3))
    assert list(open_run(tmp_path).iterations["iteration"]) == [3]


@pytest.mark.parametrize("place", ["file", "file/below"])
def test_a_path_that_is_a_file_is_refused(tmp_path, place):
    """One message with the path, no bare OSError."""
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match=re.escape(str(tmp_path / place))):
        RunWriter(tmp_path / place, {})


def test_a_folder_without_permission_is_refused():
    """Somebody who may not write there reads why."""
    script = """
import os, sys
from gradscope.errors import RunError
from gradscope.runs import RunWriter
if os.geteuid() == 0:
    os.seteuid(65534)
try:
    RunWriter(sys.argv[1], {})
except RunError as error:
    print(error)
"""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o555)
        done = subprocess.run(
            [sys.executable, "-c", script, f"{folder}/demo"], capture_output=True, text=True, check=True
        )
    assert f"Cannot write the run {folder}/demo: Permission denied" in done.stdout


def test_a_full_disk_is_one_message_and_no_half_flush(tmp_path):
    """A flush that does not fit leaves the run as it was before, and a later flush still works."""
    script = """
import resource, sys
import numpy as np
from gradscope.errors import RunError
from gradscope.runs import RunWriter
from tests.planted import flush
writer = RunWriter(sys.argv[1], {})
writer.write(flush(0, np.ones((4, 4))))
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
try:
    writer.write(flush(1, np.random.default_rng(0).normal(size=(400, 400))))
except RunError as error:
    print(error)
writer.write(flush(2))
writer.close()
"""
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "demo")], capture_output=True, text=True, check=True, cwd=root
    )
    run = open_run(tmp_path / "demo")
    assert done.stdout.startswith(f"Cannot write the run {tmp_path / 'demo'}: ")
    assert (list(run.iterations["iteration"]), sorted(set(run.timesteps["iteration"]))) == ([0, 2], [0])
    assert list((tmp_path / "demo").glob(".*")) == []


def test_a_closed_run_takes_no_more(tmp_path):
    """Closing twice is harmless, writing after it is refused."""
    writer = RunWriter(tmp_path, {})
    writer.close()
    writer.close()
    with pytest.raises(RunError, match="closed"):
        writer.write(flush(0))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ({"timesteps": {"iteration": [0]}}, "iterations"),
        ({"iterations": {"iteration": [0]}, "weights": {"iteration": [0]}}, "weights"),
        ({"iterations": {"iteration": [0]}, "gates": {"iteration": [0], "gaet": ["f"]}}, "gaet"),
        ({"iterations": {"iteration": [0, 1], "loss": [1.0]}}, "length"),
        ({"iterations": {"iteration": ["zero"]}}, "iteration"),
        ({"iterations": {"iteration": [0]}, "states": {"hidden": [np.ones((2, 2, 2))]}}, "1-D"),
    ],
)
def test_a_flush_that_does_not_fit_the_layout_is_a_mistake_of_the_caller(tmp_path, tables, said):
    """Nothing of a wrong flush reaches the disk."""
    writer = RunWriter(tmp_path, {})
    with pytest.raises(ValueError, match=said):
        writer.write(tables)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]


def test_metadata_of_any_kind_is_kept(tmp_path):
    """A numpy number becomes a number, a path its text; what JSON cannot say at all is one error."""
    RunWriter(tmp_path / "demo", {"rate": np.float64(0.5), "sizes": np.arange(3), "data": Path("a/b")})
    assert open_run(tmp_path / "demo").metadata == {"rate": 0.5, "sizes": [0, 1, 2], "data": "a/b"}
    with pytest.raises(RunError, match="JSON"):
        RunWriter(tmp_path / "other", {"user": {(1, 2): 3}})

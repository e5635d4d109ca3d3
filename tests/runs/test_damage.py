"""Whatever a folder holds, opening it says one clear sentence or reads it, and never runs anything from it."""

import json
import pickle
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gradscope.errors import GradscopeError, RunError
from gradscope.runs import RunWriter, open_run
from tests.planted import LAYER, exponential, plant


@pytest.fixture
def folder(tmp_path):
    """A run of three flushes."""
    plant(tmp_path / "demo", lambda _: exponential(-0.1), iterations=range(3))
    return tmp_path / "demo"


def _read_all(folder):
    run = open_run(folder)
    frames = [run.iterations, run.timesteps, run.parameters, run.gates]
    for iteration in run.timesteps["iteration"].unique():
        run.sequence_norms(LAYER, int(iteration))
    return frames


def _part(folder, pattern):
    return sorted(folder.glob(pattern))[1]


def test_a_missing_folder_is_said(tmp_path):
    """The path and what to give instead."""
    with pytest.raises(RunError, match=r"nowhere: the folder does not exist\. Give the folder"):
        open_run(tmp_path / "nowhere")


def test_a_file_is_not_a_run(tmp_path):
    """A file in place of the folder."""
    (tmp_path / "demo.html").write_text("")
    with pytest.raises(RunError, match=r"demo\.html is a file, not a run folder"):
        open_run(tmp_path / "demo.html")


def test_a_folder_of_runs_points_to_one(folder):
    """Whoever gives the parent is told which folder inside is a run."""
    with pytest.raises(RunError, match=rf"not a run folder.*try {re.escape(str(folder))}"):
        open_run(folder.parent)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"\xff\xfe\x00", b"null", b"[]", b"{}", b'{"format": "1"}', b'{"format": 1}', b"[" * 100_000,
     b'{"format": 1, "writer": "a", "metadata": 3}', b'{"format": 1, "writer": "a", "metadata": {}, "flushes": "x"}'],
)  # fmt: skip
def test_garbage_in_run_json_is_said(folder, content):
    """One RunError that names the file."""
    (folder / "run.json").write_bytes(content)
    with pytest.raises(RunError, match=r"run\.json is damaged"):
        open_run(folder)


def test_a_run_of_a_newer_version_is_not_guessed_at(folder):
    """The message says to upgrade."""
    content = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**content, "format": 2}))
    with pytest.raises(RunError, match="newer gradscope"):
        open_run(folder)


@pytest.mark.parametrize("pattern", ["timesteps-*", "iterations-*"])
def test_a_truncated_part_is_named(folder, pattern):
    """Half of a part is found when the run is opened, not somewhere later."""
    path = _part(folder, pattern)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(RunError, match=rf"{path.name} is damaged"):
        open_run(folder)


@pytest.mark.parametrize("pattern", ["timesteps-*", "iterations-*"])
def test_a_removed_part_is_named(folder, pattern):
    """A hole in a run is an error, never a shorter run."""
    path = _part(folder, pattern)
    path.unlink()
    with pytest.raises(RunError, match=rf"{path.name} is damaged: it is missing"):
        open_run(folder)


def test_the_last_part_of_a_complete_run_is_missed_too(folder):
    """A complete run says how many flushes it has."""
    last = max(folder.glob("iterations-*"))
    last.unlink()
    with pytest.raises(RunError, match=rf"{last.name} is damaged: it is missing"):
        open_run(folder)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_flipped_bytes_anywhere_give_a_run_or_one_error(folder, data):
    """No other exception escapes, whatever happened to the bytes of a file."""
    path = data.draw(st.sampled_from(sorted(folder.iterdir())))
    whole = path.read_bytes()
    broken = bytearray(whole)
    for place in data.draw(st.lists(st.integers(0, len(whole) - 1), min_size=1, max_size=4)):
        broken[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(broken))
    said = ""
    try:
        _read_all(folder)
    except GradscopeError as error:
        said = str(error)
    finally:
        path.write_bytes(whole)
    assert "\n" not in said


def _replace_part(path, table):
    metadata = pq.read_schema(path).metadata or {}
    pq.write_table(table.replace_schema_metadata({**metadata, **(table.schema.metadata or {})}), path)


@pytest.mark.parametrize("column", [["zero"], [{"a": 1}], [2**70], [None]])
def test_a_part_with_columns_of_wrong_types_is_named(tmp_path, column):
    """A well-formed Parquet file with a wrong iteration column is damaged all the same."""
    RunWriter(tmp_path, {}).write({"iterations": {"iteration": [0]}})
    (path,) = tmp_path.glob("iterations-*")
    _replace_part(path, pa.table({"iteration": pa.array(column) if column != [2**70] else pa.array([2.0**70])}))
    with pytest.raises(RunError, match=path.name):
        _ = open_run(tmp_path).iterations


def test_a_part_of_huge_times_asks_for_no_huge_memory(tmp_path):
    """Times are used by rank, so a forged one cannot make an array of petabytes."""
    row = {
        "iteration": [0],
        "layer": [LAYER],
        "call": [0],
        "sequence": [2**60],
        "time": [2**61],
        "hidden": [np.ones(2)],
    }
    RunWriter(tmp_path, {}).write({"iterations": {"iteration": [0]}, "states": row})
    assert open_run(tmp_path).states(LAYER, 0).shape == (1, 1, 2)


class Bomb:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.write_text, (self.target, "boom")


def test_nothing_is_ever_unpickled(tmp_path):
    """A part that carries a pickled extension type and a pickled index is read without executing either."""
    RunWriter(tmp_path / "demo", {}).write({"iterations": {"iteration": [0]}})
    (path,) = (tmp_path / "demo").glob("iterations-*")
    payload = pickle.dumps(Bomb(tmp_path / "exploded"))
    hostile = {b"ARROW:extension:name": b"arrow.py_extension_type", b"ARROW:extension:metadata": payload}
    fields = [pa.field("iteration", pa.int64(), metadata=hostile), pa.field("evil", pa.binary(), metadata=hostile)]
    table = pa.table([pa.array([0]), pa.array([payload])], schema=pa.schema(fields))
    _replace_part(path, table.replace_schema_metadata({b"pandas": payload}))
    script = """
import sys
found = []
sys.addaudithook(lambda event, arguments: found.append(event) if event.startswith("pickle.") and armed else None)
armed = False
from gradscope.errors import RunError
from gradscope.runs import open_run
import pandas, pyarrow.parquet
armed = True
try:
    open_run(sys.argv[1]).iterations
except RunError:
    pass
armed = False
print(found)
"""
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "demo")], capture_output=True, text=True, check=True
    )
    assert (done.stdout.strip(), (tmp_path / "exploded").exists()) == ("[]", False)

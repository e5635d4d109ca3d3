"""A process killed while it writes leaves a folder that opens, with tables that agree."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gradscope.runs import RunWriter, open_run, parts
from gradscope.runs.places import sizes
from tests.planted import LAYER, flush

WRITING = """
import sys
import numpy as np
from gradscope.runs import RunWriter
from tests.planted import flush
writer = RunWriter(sys.argv[1], {"dtype": "float32"}, overwrite=True)
print("writing", flush=True)
iteration = 0
while True:
    tables = flush(iteration, np.full((50, 8), float(iteration)), logged={"loss": float(iteration)})
    tables["parameters"] = {"iteration": [iteration] * 2, "parameter": ["a", "b"], "gradient_norm": [iteration] * 2}
    writer.write(tables)
    iteration += 1
"""


def _writer_of(folder):
    """Return the name that the writer of the run put into its parts' names."""
    return next(folder.glob("iterations-*")).name.split("-")[1]


def _agreeing_iterations(folder):
    """Open the run, check every table against every other, return the iterations."""
    run = open_run(folder)
    iterations = run.iterations["iteration"].to_list()
    assert iterations == list(range(len(iterations)))
    assert sorted(set(run.timesteps["iteration"])) == iterations
    assert sorted(set(run.parameters["iteration"])) == iterations
    assert len(run.timesteps) == 50 * len(iterations)
    for iteration in iterations[-3:]:
        np.testing.assert_array_equal(np.full((50, 8), float(iteration)), run.sequence_norms(LAYER, iteration))
    assert run.complete is False
    return iterations


@pytest.mark.slow
def test_a_killed_writer_leaves_a_readable_run(tmp_path):
    """SIGKILL at six random moments, and readings while the writer is alive: the tables always agree."""
    chance = random.Random(int(os.environ.get("GRADSCOPE_KILL_SEED", "0")))
    root = Path(__file__).parents[2]
    found = []
    for _ in range(6):
        with subprocess.Popen(
            [sys.executable, "-c", WRITING, str(tmp_path)], cwd=root, stdout=subprocess.PIPE, text=True
        ) as process:
            try:
                assert process.stdout.readline() == "writing\n"
                time.sleep(chance.uniform(0.02, 0.4))
                alive = _agreeing_iterations(tmp_path)
                time.sleep(chance.uniform(0.0, 0.05))
            finally:
                process.send_signal(signal.SIGKILL)
        left = _agreeing_iterations(tmp_path)
        assert len(left) >= len(alive)
        found.append(len(left))
    assert max(found) > 5


@pytest.mark.parametrize("table", ["iterations", "timesteps", "parameters"])
def test_a_listing_may_miss_what_is_renamed_meanwhile(tmp_path, monkeypatch, table):
    """A folder is not listed at one moment: the part of an earlier flush is missed, that of a later one is seen."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(3):
        tables = flush(iteration, np.ones((3, 2)))
        tables["parameters"] = {"iteration": [iteration], "parameter": ["a"]}
        writer.write(tables)
    listings = []

    def listed(folder):
        found = sizes(folder)
        listings.append(found)
        if len(listings) == 1:
            del found[f"{table}-{_writer_of(folder)}-000001.parquet"]
        return found

    monkeypatch.setattr(parts, "sizes", listed)
    run = open_run(tmp_path)

    assert len(listings) > 1
    assert [sorted(set(frame["iteration"])) for frame in (run.iterations, run.timesteps, run.parameters)] == [
        [0, 1, 2]
    ] * 3


@pytest.mark.parametrize("kept", range(4))
def test_a_flush_without_its_mark_does_not_count(tmp_path, kept):
    """Killed after any number of a flush's parts, the run ends with the flush before."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(2):
        tables = flush(iteration, np.ones((3, 2)))
        tables["parameters"] = {"iteration": [iteration], "parameter": ["a"]}
        writer.write(tables)
    second = sorted(tmp_path.glob("*-000001.parquet"), key=lambda path: path.stat().st_mtime_ns)
    assert second[-1].name.startswith("iterations-")
    for path in second[kept:]:
        path.rename(path.with_name(f".{path.name}.tmp"))
    run = open_run(tmp_path)
    seen = [sorted(set(frame["iteration"])) for frame in (run.iterations, run.timesteps, run.parameters)]
    assert seen == [[0, 1] if kept == 3 else [0]] * 3


def test_a_kill_while_overwriting_leaves_the_new_run(tmp_path):
    """Parts of the run before that were not deleted yet are not read as the new run's."""
    old = RunWriter(tmp_path, {"attempt": 1})
    old.write(flush(0, np.ones((3, 2))))
    parts = {path: path.read_bytes() for path in tmp_path.glob("*.parquet")}
    RunWriter(tmp_path, {"attempt": 2}, overwrite=True)
    for path, content in parts.items():
        path.write_bytes(content)
    run = open_run(tmp_path)
    assert (run.metadata["attempt"], len(run.iterations), len(run.timesteps)) == (2, 0, 0)

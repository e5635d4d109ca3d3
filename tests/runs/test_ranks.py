"""A run to which several processes add their own parts."""

import json

import pytest

from gradscope.errors import RunError, UsageError
from gradscope.runs import RunWriter, open_run
from tests.planted import exponential, flush


def _two_writers(folder):
    """A run that rank 1 has begun and rank 0 has joined."""
    return RunWriter(folder, {"rank": 1}), RunWriter(folder, {"rank": 0}, joins=0)


def test_each_rank_is_read_by_itself(tmp_path):
    """The lowest rank is read unless another is named, whoever began the run; each is complete by itself."""
    first, second = _two_writers(tmp_path)
    first.write(flush(1))
    second.write(flush(0, exponential(-0.1)))
    second.close()
    read = {rank: open_run(tmp_path, rank=rank) for rank in (None, 0, 1)}
    assert {rank: list(run.iterations["iteration"]) for rank, run in read.items()} == {None: [0], 0: [0], 1: [1]}
    assert [read[rank].complete for rank in (0, 1)] == [True, False]
    assert {run.ranks for run in read.values()} == {(0, 1)}


def test_a_run_of_one_process_has_rank_0(tmp_path):
    """Nothing is new for a training in one process; a rank that is not there is named beside those that are."""
    RunWriter(tmp_path, {})
    assert (open_run(tmp_path).rank, open_run(tmp_path).ranks) == (0, (0,))
    with pytest.raises(UsageError, match=r"has no rank 1; it has: 0\."):
        open_run(tmp_path, rank=1)


def test_overwriting_ends_every_rank(tmp_path):
    """All files of all ranks go, and their writers are told that another run began."""
    writers = _two_writers(tmp_path)
    for writer in writers:
        writer.write(flush(0))
    RunWriter(tmp_path, {}, overwrite=True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.json"]
    for writer in writers:
        with pytest.raises(RunError, match="Another process has begun a new run"):
            writer.write(flush(1))


def test_a_rank_that_is_no_number(tmp_path):
    """A run may come from anyone: what stands in the place of a rank is rank 0 if it is not one."""
    RunWriter(tmp_path, {"rank": "../../etc"})
    assert open_run(tmp_path).rank == 0


def test_a_damaged_file_of_another_rank_is_said(tmp_path):
    """It is named, as run.json is."""
    _two_writers(tmp_path)
    (tmp_path / "run.rank0.json").write_text(json.dumps({"format": 1}))
    with pytest.raises(RunError, match=r"run\.rank0\.json is damaged"):
        open_run(tmp_path)

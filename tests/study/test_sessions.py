"""How long a study's training took, also where its trials are only read from disk."""

import pytest

from gradscope.study.running.sessions import Session, how_trained, keep_session


@pytest.fixture
def folder(tmp_path):
    """Of a study's runs, not there yet."""
    return tmp_path / "runs" / "small"


def _keep(folder, started, seconds, workers, *trials):
    keep_session(folder, Session(started, seconds, workers, list(trials)))


def test_what_is_read_from_disk_is_told_as_it_was_trained(folder):
    """The sessions that trained the trials count, each once; one that only read them is not kept."""
    _keep(folder, "1", 10.0, 2, "a", "b")
    _keep(folder, "2", 5.0, 2, "c")
    _keep(folder, "3", 0.1, 0)

    assert how_trained(folder, ["a", "b", "c"]) == {"started": "1", "seconds": 15.0, "workers": 2}
    assert how_trained(folder, ["c"]) == {"started": "2", "seconds": 5.0, "workers": 2}


def test_a_trial_that_was_trained_again_counts_as_trained_last(folder):
    """As after --fresh; workers of several kinds are listed."""
    _keep(folder, "1", 10.0, 2, "a", "b")
    _keep(folder, "2", 3.0, 1, "a", "b")
    _keep(folder, "3", 4.0, "tcp://head:8786", "c")

    assert how_trained(folder, ["a", "b"]) == {"started": "2", "seconds": 3.0, "workers": 1}
    assert how_trained(folder, ["a", "c"])["workers"] == [1, "tcp://head:8786"]


def test_what_nobody_noted_is_not_told(folder):
    """Trials of an older version: nothing, or of how many it is known."""
    assert how_trained(folder, ["a"]) == {}
    _keep(folder, "1", 10.0, 2, "a")

    assert how_trained(folder, ["a", "old"])["wall_time_is_of"] == "1 of 2 trials"
    (folder / "sessions.json").write_text("[{", encoding="utf-8")
    assert how_trained(folder, ["a"]) == {}

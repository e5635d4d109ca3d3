"""Whatever happens in a trial, its end is on disk."""

import torch

from gradscope.runs import RunWriter
from gradscope.study.training.attempt import attempt_trial, finished_outcome
from gradscope.study.training.outcome import read_outcome


def test_an_exception_is_a_result(make_trial, tmp_path):
    """A trial that raises is failed with its reason, kept, and would run again."""
    trial = make_trial(task="text", kind="text", options={"length": 10}, data_digest="of another text")

    outcome = attempt_trial(trial, tmp_path / "run")

    assert outcome.status == "failed"
    assert outcome.reason == "UsageError: the data of text changed while the study ran: start it again"
    assert read_outcome(tmp_path / "run") == outcome
    assert finished_outcome(tmp_path / "run") is None


def test_what_is_finished_is_not_trained_again(make_trial, tmp_path):
    """The second attempt gives back the first one's outcome, its seconds too, and touches no file."""
    trial = make_trial()
    first = attempt_trial(trial, tmp_path / "run")
    before = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()}

    assert attempt_trial(trial, tmp_path / "run") == first
    assert {path.name: path.stat().st_mtime_ns for path in (tmp_path / "run").iterdir()} == before
    assert first.status == "finished"


def test_a_failed_trial_runs_again(make_trial, tmp_path):
    """What made it fail may be gone: an outcome without a run is replaced by a whole run."""
    broken = make_trial(task="text", kind="text", options={"length": 10}, data_digest="of another text")
    attempt_trial(broken, tmp_path / "run")

    assert attempt_trial(make_trial(), tmp_path / "run").status == "finished"


def test_a_run_that_cannot_be_recorded_is_failed(make_trial, tmp_path):
    """A folder that is not ours is left alone, and the trial says so."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "diary.txt").write_text("mine", encoding="utf-8")

    outcome = attempt_trial(make_trial(), tmp_path / "run")

    assert outcome.status == "failed"
    assert outcome.reason.startswith("RunError: ")
    assert (tmp_path / "run" / "diary.txt").read_text(encoding="utf-8") == "mine"


def test_a_recording_that_breaks_off_is_a_failure(make_trial, tmp_path, monkeypatch):
    """The recorder lets training go on when the disk is full; a study must not take such a trial for finished."""

    def full(self, tables):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(RunWriter, "write", full)

    outcome = attempt_trial(make_trial(), tmp_path / "run")

    assert outcome.status == "failed"
    assert "No space left on device" in outcome.reason


def test_the_process_keeps_its_number_of_threads(make_trial, tmp_path):
    """A trial trains on one thread, and gives the others back."""
    before = torch.get_num_threads()
    attempt_trial(make_trial(iterations=1), tmp_path / "run")

    assert torch.get_num_threads() == before

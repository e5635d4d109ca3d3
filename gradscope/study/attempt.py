"""One attempt at a trial: whatever happens in it, its end is a result on disk."""

import time

from gradscope.runs.places import Place
from gradscope.study.outcome import Outcome, forget_outcome, read_outcome, write_outcome
from gradscope.study.trial import Trial


def attempt_trial(trial: Trial, folder: Place) -> Outcome:
    """Train a trial unless it is done already, and keep how it ended.

    A worker that dies is replaced and its trial is given out again, so the disk is asked first: what another attempt
    has finished is not trained twice.

    Args:
        trial: what to train.
        folder: the trial's run folder.

    Returns:
        How it ended. An exception is a result too: status `failed`, with the reason.
    """
    done = finished_outcome(folder)
    if done is not None:
        return done
    began = time.perf_counter()
    try:
        forget_outcome(folder)
        outcome = _train(trial, folder)
    except Exception as error:  # noqa: BLE001 - one trial's failure must not lose the study
        outcome = failure(trial, one_line(error), time.perf_counter() - began)
    return keep_outcome(trial, folder, outcome)


def keep_outcome(trial: Trial, folder: Place, outcome: Outcome) -> Outcome:
    """Write the outcome into the trial's folder.

    Returns:
        The outcome; a failure if it could not be written, since nobody will find it.
    """
    try:
        write_outcome(folder, outcome)
    except OSError as error:
        return failure(trial, one_line(error))
    return outcome


def finished_outcome(folder: Place) -> Outcome | None:
    """Read how the trial ended, if it need not run again.

    Returns:
        None if it is not over, or failed: what made it fail may be gone. A divergence would only happen again.
    """
    outcome = read_outcome(folder)
    return None if outcome is None or outcome.status == "failed" else outcome


def failure(trial: Trial, reason: str, seconds: float = 0.0) -> Outcome:
    """Describe a trial that failed.

    Returns:
        Its outcome, not yet on disk.
    """
    return Outcome(trial=trial.id, settings=trial.settings, status="failed", reason=reason, seconds=round(seconds, 3))


def _train(trial: Trial, folder: Place) -> Outcome:
    # Imported here, in the worker: who only reads a study's results never waits for torch.
    import torch

    from gradscope.study.training import train_trial

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        return train_trial(trial, folder)
    finally:
        torch.set_num_threads(before)


def one_line(error: BaseException) -> str:
    """Return an exception's type and message in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__

"""One attempt at a trial: whatever happens in it, its end is a result on disk."""

import contextlib
import time
import warnings
from collections.abc import Iterator, Sequence

from gradscope.runs.places import Place
from gradscope.study.spec.trial import Trial
from gradscope.study.training.outcome import Outcome, forget_outcome, read_outcome, write_outcome
from gradscope.study.training.turns import alone_with


def attempt_trials(jobs: Sequence[tuple[Trial, Place]]) -> list[Outcome]:
    """Train a group of trials unless they are done already, and keep how each ended.

    Args:
        jobs: the trials of a group, and their run folders.

    Returns:
        How each ended, in the same order. What did not end with the others is attempted by itself.
    """
    with alone_with([folder for _, folder in jobs]):
        return _attempt(jobs)


def _attempt(jobs: Sequence[tuple[Trial, Place]]) -> list[Outcome]:
    left = [(trial, folder) for trial, folder in jobs if finished_outcome(folder) is None]
    if len(left) > 1:
        try:
            _train_together(left)
        except Exception as error:  # noqa: BLE001 - what one of them did must not cost the others their training
            warnings.warn(f"{len(left)} trials are trained one by one: {one_line(error)}", RuntimeWarning, stacklevel=2)
    return [attempt_trial(trial, folder) for trial, folder in jobs]


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


# Imported here, in the worker: who only reads a study's results never waits for torch.
def _train(trial: Trial, folder: Place) -> Outcome:
    from gradscope.study.training.training import train_trial

    with _one_thread():
        return train_trial(trial, folder)


def _train_together(jobs: Sequence[tuple[Trial, Place]]) -> None:
    from gradscope.study.training.together import train_together

    with _one_thread():
        train_together(jobs)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_line(error: BaseException) -> str:
    """Return an exception's type and message in one line."""
    words = " ".join(str(error).split())
    return f"{type(error).__name__}: {words}" if words else type(error).__name__

"""How a trial ended: one small JSON file inside the trial's run folder, the mark that the trial need not run again."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gradscope.errors import RunError
from gradscope.runs.places import Place, make_folder, read, remove, write

Status = Literal["finished", "diverged", "failed"]

_FILE = "outcome.json"


@dataclass(frozen=True)
class Outcome:
    """What is known of a trial once it is over.

    Attributes:
        trial: the trial's id, which is also the name of its folder.
        settings: the trial's resolved settings (`Trial.settings`).
        status: `finished`; `diverged` (its loss became infinite or NaN); `failed` (it raised, or killed its worker).
        reason: why it did not finish, one line; empty where it did.
        iterations: optimiser steps that were taken.
        seconds: wall time of the training; of trials that were trained together its share of theirs.
        together: how many trials were trained as one program, it among them.
        lag: how many times back the task needs to look, None if the trial never got as far as its task.
        baseline: loss of the trivial answer, None likewise.
        baseline_meaning: what that trivial answer is, in words.
        solved: share of the baseline below which the task counts as solved; None where no loss means that.
        parameters: numbers that the recurrent part learns.
        score_name: what the logged column `score` measures; empty where nothing was scored.
        exhibits: what was shown and measured of the network: each with `iterations` (how many it had trained) and what
            `gradscope.tasks.shown.as_json` makes of it.
    """

    trial: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    status: Status = "finished"
    reason: str = ""
    iterations: int = 0
    seconds: float = 0.0
    together: int = 1
    lag: int | None = None
    baseline: float | None = None
    baseline_meaning: str = ""
    solved: float | None = None
    parameters: int = 0
    score_name: str = ""
    exhibits: Sequence[Mapping[str, Any]] = field(default_factory=list)


def write_outcome(folder: Place, outcome: Outcome) -> None:
    """Put the outcome into the trial's folder, all at once: a reader sees either no outcome or the whole one."""
    make_folder(folder)
    content = json.dumps(asdict(outcome), indent=1, sort_keys=True).encode()
    write(folder / _FILE, content, draft=f".{_FILE}.{os.getpid()}.tmp")


def read_outcome(folder: Place) -> Outcome | None:
    """Read the outcome of the trial in `folder`.

    Returns:
        The outcome, or None if the trial is not over, or its file is damaged: then it has to run again.

    Raises:
        RunError: the object store does not answer, so that nobody knows.
    """
    try:
        return Outcome(**json.loads(read(folder / _FILE)))
    except ConnectionError as error:
        raise RunError(f"cannot read {folder}: {error.strerror}") from error
    except (OSError, ValueError, TypeError):
        return None


def forget_outcome(folder: Place) -> None:
    """Remove the outcome, so that the trial counts as unfinished."""
    remove(folder / _FILE)

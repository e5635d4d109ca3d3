"""How the trials of a study were trained: one JSON file beside their folders, an entry a command that trained some."""

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from gradscope.runs.places import Place, make_folder, read, write

_FILE = "sessions.json"


@dataclass(frozen=True)
class Session:
    """One command that trained trials.

    Attributes:
        started: when, as ISO 8601 says it.
        seconds: wall time until all were trained, or it was interrupted.
        workers: how many processes, 0 for its own; or the address of a scheduler.
        trials: ids of those that it finished.
    """

    started: str
    seconds: float
    workers: int | str
    trials: Sequence[str]


def keep_session(folder: Place, session: Session) -> None:
    """Add a session to those that are kept.

    Args:
        folder: of the study's runs.
        session: one that finished no trial is not kept.
    """
    if not session.trials:
        return
    kept = [asdict(each) for each in (*_read(folder), session)]
    # The trials are on disk, and what came of them does not depend on this.
    with contextlib.suppress(OSError):
        make_folder(folder)
        write(folder / _FILE, json.dumps(kept).encode(), draft=f".{_FILE}.{os.getpid()}.tmp")


def how_trained(folder: Place, trials: Sequence[str]) -> dict[str, Any]:
    """Return when, how long and on how many workers trials were trained, whichever command did.

    Args:
        folder: of the study's runs.
        trials: their ids.

    Returns:
        For the study's provenance: `started`, `seconds` and `workers` of the newest sessions that trained them, and of
        how many trials that is known where it is not of all; nothing where it is of none.
    """
    missing, sessions = set(trials), list[Session]()
    for session in reversed(_read(folder)):
        if missing & set(session.trials):
            sessions.insert(0, session)
            missing -= set(session.trials)
    if not sessions:
        return {}
    workers = list(dict.fromkeys(session.workers for session in sessions))
    known = len(trials) - len(missing)
    return {
        "started": sessions[0].started,
        "seconds": round(sum(session.seconds for session in sessions), 1),
        "workers": workers[0] if len(workers) == 1 else workers,
        **({"wall_time_is_of": f"{known} of {len(trials)} trials"} if missing else {}),
    }


def _read(folder: Place) -> list[Session]:
    """Return the sessions that were kept, the oldest first; none if the file is damaged or was never written."""
    try:
        return [Session(**each) for each in json.loads(read(folder / _FILE))]
    except (OSError, ValueError, TypeError):
        return []

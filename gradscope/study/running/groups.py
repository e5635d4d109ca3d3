"""Which trials are trained together."""

import math
from collections.abc import Sequence
from dataclasses import replace

from gradscope.study.spec.choice import parse_choices
from gradscope.study.spec.clipping_table import OMEGA
from gradscope.study.spec.dotted import is_dotted
from gradscope.study.spec.task_settings import make_task
from gradscope.study.spec.trial import Trial

MOST = 12
"""Trials in a group."""

# Those of `gradscope.cells.side_by_side`, which needs torch.
CELLS = ("rnn_tanh", "rnn_relu", "gru")

# Units times sequences. Of larger networks the arithmetic takes the time, and that stays the same.
_LARGEST = 4096

# So many groups for each worker, so that none waits long for the others at the end.
_PER_WORKER = 2


def groups_of(trials: Sequence[Trial], workers: int) -> list[list[Trial]]:
    """Put trials together that may be, and differ in nothing but seed, initialisation and clipping.

    Args:
        trials: to train, in the order in which they should begin.
        workers: how many train at once; 0 counts as one.

    Returns:
        Groups of one trial or more, in that order too.
    """
    most = min(MOST, math.ceil(len(trials) / (_PER_WORKER * max(1, workers))))
    alike: dict[str, list[Trial]] = {}
    for trial in trials:
        alike.setdefault(_common(trial) if _may_share(trial) else trial.id, []).append(trial)
    parts = [part for same in alike.values() for part in _split(same, most if _goes_together(same) else 1)]
    place = {trial.id: number for number, trial in enumerate(trials)}
    return sorted(parts, key=lambda part: place[part[0].id])


def _common(trial: Trial) -> str:
    """Return what trials of one group have in common."""
    return replace(trial, seed=0, initialisation="", clipping="").id


def _may_share(trial: Trial) -> bool:
    names = {choice.name for text in (trial.initialisation, trial.clipping) for choice in parse_choices(text)}
    own = trial.modules or any(map(is_dotted, names))
    pays = trial.cell in CELLS and trial.hidden * trial.batch <= _LARGEST
    # Omega listens to PyTorch's own module. Where every iteration is recorded, nothing is left to share.
    special = own or OMEGA in names or is_dotted(trial.kind) or trial.measures or trial.every == 1
    return trial.together and pays and not special


def _goes_together(alike: Sequence[Trial]) -> bool:
    """Return whether the loops can do their task: no state is carried, no gradient truncated."""
    if len(alike) < 2:
        return False
    task = make_task(alike[0].kind, alike[0].options)
    return not task.carries_state and not task.truncate


def _split(alike: Sequence[Trial], most: int) -> list[list[Trial]]:
    count = math.ceil(len(alike) / most)
    return [list(alike[number::count]) for number in range(count)]

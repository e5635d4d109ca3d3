"""Units of a relu layer that are never on."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from gradscope.analysis.kept_states import kept_states
from gradscope.analysis.pooling import Phase
from gradscope.runs import Run


@dataclass(frozen=True, eq=False)
class DeadUnits:
    """Which units of a layer were 0 whenever they were looked at.

    A unit that was never seen on may still answer to inputs that were not among the few kept sequences:
    `observations` says how often each was looked at.

    Attributes:
        dead: (unit,) whether it was exactly 0 at every time of every kept sequence.
        observations: How many values of each unit were seen.
    """

    dead: Bool[np.ndarray, " unit"]
    observations: int

    @property
    def count(self) -> int:
        """How many units are dead."""
        return int(self.dead.sum())

    @property
    def share(self) -> float:
        """Their share; NaN in a layer without units."""
        return self.count / len(self.dead) if len(self.dead) else np.nan


def dead_units(states: Sequence[Float[np.ndarray, "time sequence hidden"]]) -> DeadUnits | None:
    """Return which units are exactly 0 in all states; a value that is NaN (no such time) does not count.

    Args:
        states: Hidden states of one layer, at least one value of each unit.

    Returns:
        None if there is nothing to look at.
    """
    flat = [array.reshape(-1, array.shape[-1]) for array in states]
    seen = np.concatenate(flat) if flat else np.empty((0, 0))
    seen = seen[~np.isnan(seen).any(axis=1)]
    if not seen.size:
        return None
    return DeadUnits((seen == 0).all(axis=0), len(seen))


def run_dead_units(run: Run, layer: str, phase: Phase = "end") -> DeadUnits | None:
    """Return the dead units of a layer at the start or the end of a run; None if it kept no states there."""
    return dead_units(kept_states(run, layer, phase))

"""What watching has cost so far."""

from collections import deque
from statistics import median
from typing import NamedTuple

_SLOWDOWN = 1 / 2
"""Of the time that a thread computes beside a training, about so much is added to the training: both use the same
memory and Python's lock. Measured on two processors, by what recording every 5th, 10th or 20th iteration adds."""


class Charge(NamedTuple):
    """Seconds of one iteration, with what it takes from those after it; `own` of them are gradscope's."""

    seconds: float
    own: float


class Cost:
    """Compares recorded iterations with idle ones, and knows the time spent in gradscope's own code.

    By medians, so that an evaluation of the user's own that falls into a recorded iteration is not taken for a cost.
    """

    _WINDOW = 101

    def __init__(self) -> None:
        self._idle: deque[float] = deque(maxlen=self._WINDOW)
        self._recorded: deque[float] = deque(maxlen=self._WINDOW)
        self._count = 0
        self._total = 0.0
        self._in_hooks = 0.0
        self._beside = 0.0

    def add(self, seconds: float, in_hooks: float, beside: float, worked_out: int, *, recorded: bool) -> Charge:
        """Add one iteration.

        Args:
            seconds: that it took.
            in_hooks: time in gradscope's own code while the training waited.
            beside: time of all jobs so far in a thread beside the training.
            worked_out: of how many recorded iterations they were. What comes of this one is not known yet: it is
                charged with the mean of those.
            recorded: whether the iteration was.

        Returns:
            What it is charged with.
        """
        later = _SLOWDOWN * beside / worked_out if recorded and worked_out else 0.0
        charge = Charge(seconds + later, in_hooks + later)
        self._total += seconds
        self._in_hooks += in_hooks
        self._beside = beside
        self._count += recorded
        (self._recorded if recorded else self._idle).append(charge.seconds)
        return charge

    @property
    def fraction(self) -> float:
        """Time added by watching, as a fraction of what the training would have taken without; NaN before any."""
        extra = self._in_hooks + _SLOWDOWN * self._beside
        if self._idle and self._recorded:
            # Hooks also slow the backward pass where no clock of ours runs: the difference to idle iterations shows it.
            extra = max(extra, self._count * (median(self._recorded) - median(self._idle)))
        bare = self._total - extra
        return extra / bare if bare > 0 else float("nan")

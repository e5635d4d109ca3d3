"""What watching has cost so far."""

from collections import deque
from statistics import median

_SLOWDOWN = 1 / 3
"""Of the time that a thread computes beside a training, about so much is added to the training: both use the same
memory and Python's lock. As `gradscope overhead` measured it on two processors."""


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
        self._own = 0.0
        self._beside = 0.0

    def own_seconds(self, in_hooks: float, beside: float, *, recorded: bool) -> float:
        """Return what watching added to an iteration.

        Args:
            in_hooks: time in gradscope's own code while the training waited.
            beside: time of all jobs so far in a thread beside the training; what came since the last recorded iteration
                is mostly what came of that one, and counts for this one.
            recorded: whether the iteration was.
        """
        if not recorded:
            return in_hooks
        since, self._beside = beside - self._beside, beside
        return in_hooks + _SLOWDOWN * since

    def add(self, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Add one iteration, and how much of it was gradscope's own code."""
        self._total += seconds
        self._own += own_seconds
        self._count += recorded
        (self._recorded if recorded else self._idle).append(seconds)

    @property
    def fraction(self) -> float:
        """Time added by watching, as a fraction of what the training would have taken without; NaN before any."""
        extra = self._own
        if self._idle and self._recorded:
            # Hooks also slow the backward pass where no clock of ours runs: the difference to idle iterations shows it.
            extra = max(extra, self._count * (median(self._recorded) - median(self._idle)))
        bare = self._total - extra
        return extra / bare if bare > 0 else float("nan")

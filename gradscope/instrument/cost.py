"""What watching has cost so far."""

from collections import deque
from statistics import median


class Cost:
    """Compares recorded iterations with idle ones, and knows the time spent in gradscope's own code."""

    _WINDOW = 101

    def __init__(self) -> None:
        self._idle: deque[float] = deque(maxlen=self._WINDOW)
        self._total = 0.0
        self._own = 0.0
        self._extra = 0.0

    def add(self, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Add one iteration, and how much of it was gradscope's own code."""
        self._total += seconds
        self._own += own_seconds
        if not recorded:
            self._idle.append(seconds)
        # Hooks also slow the backward pass where no clock of ours runs: the difference to a usual idle iteration shows.
        slowdown = seconds - median(self._idle) if recorded and self._idle else 0.0
        self._extra += max(own_seconds, slowdown)

    @property
    def fraction(self) -> float:
        """Time added by watching, as a fraction of what the training would have taken without; NaN before any."""
        bare = self._total - self._extra
        return self._extra / bare if bare > 0 else float("nan")

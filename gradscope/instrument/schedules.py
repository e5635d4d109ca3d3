"""Which iterations are recorded."""

import math
from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Protocol, runtime_checkable

from gradscope.errors import UsageError


@runtime_checkable
class Schedule(Protocol):
    """Decides before an iteration begins whether it is recorded, and hears afterwards what it took."""

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` is to be recorded."""
        ...

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Hear how long an iteration took, and how much of that was spent in gradscope's own code."""
        ...


class Every:
    """Record every n-th iteration, from iteration 0."""

    def __init__(self, n: int) -> None:
        if isinstance(n, bool) or not isinstance(n, int) or n < 1:
            raise UsageError(f"Every(n) expects a whole number of at least 1, got {n!r}.")
        self.n = n

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` is a multiple of n."""
        return iteration % self.n == 0

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Do nothing: the spacing is fixed."""

    def __repr__(self) -> str:
        return f"Every({self.n})"


class At:
    """Record exactly the iterations that are named."""

    def __init__(self, iterations: Iterable[int]) -> None:
        try:
            wanted = frozenset(iterations)
        except TypeError:
            raise UsageError(f"At(iterations) expects a collection of whole numbers, got {iterations!r}.") from None
        wrong = [i for i in wanted if isinstance(i, bool) or not isinstance(i, int) or i < 0]
        if wrong:
            raise UsageError(f"At(iterations) expects whole numbers of at least 0, got {wrong[0]!r}.")
        self.iterations = wanted

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` was named."""
        return iteration in self.iterations

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Do nothing: the iterations are fixed."""

    def __repr__(self) -> str:
        return f"At({sorted(self.iterations)})"


class Budget:
    """Record as often as a share of the training time allows; dense at first, where gradients change most.

    Iterations 0, 1, 2, 4, 8, 16 and so on are always recorded: that costs only the logarithm of the training's length.
    Beyond them the gap between recordings is the measured cost of one, divided by `fraction` of an idle iteration.
    The cost is the larger of the time spent in gradscope's own code and the difference between the median recorded
    and the median idle iteration: hooks also slow the backward pass where no clock of ours runs, and a median is
    not misled by the user's own evaluation in between.
    """

    _WINDOW = 31

    def __init__(self, fraction: float = 0.05) -> None:
        if isinstance(fraction, bool) or not isinstance(fraction, int | float) or not 0 < fraction < 1:
            raise UsageError(f"Budget(fraction) expects a number between 0 and 1, such as 0.05, got {fraction!r}.")
        self.fraction = float(fraction)
        self._idle: deque[float] = deque(maxlen=self._WINDOW)
        self._recorded: deque[float] = deque(maxlen=self._WINDOW)
        self._own: deque[float] = deque(maxlen=self._WINDOW)
        self._next = 0

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` is a power of two, or the gap since the last recording has been waited out."""
        return iteration & (iteration - 1) == 0 or iteration >= self._next

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Learn what recordings cost here, and set the gap to the next one."""
        if not recorded:
            self._idle.append(seconds)
            return
        if iteration > 0:  # The first iteration also pays for first use: allocations, lazy imports, caches.
            self._recorded.append(seconds)
            self._own.append(own_seconds)
        self._next = iteration + self._gap()

    def _gap(self) -> int:
        if not self._idle or not self._recorded:
            return 2
        idle = median(self._idle)
        cost = max(median(self._own), median(self._recorded) - idle)
        return max(1, math.ceil(cost / (self.fraction * idle)))

    def __repr__(self) -> str:
        return f"Budget({self.fraction})"


def as_schedule(schedule: Schedule | int | None) -> Schedule:
    """Return the schedule that the user meant: None is the default budget, an integer n is `Every(n)`.

    Raises:
        UsageError: `schedule` is none of these.
    """
    if schedule is None:
        return Budget()
    if isinstance(schedule, int):
        return Every(schedule)
    if not isinstance(schedule, Schedule):
        raise UsageError(
            f"schedule expects Every(n), At(iterations), Budget(fraction) or a whole number, got {schedule!r}."
        )
    return schedule

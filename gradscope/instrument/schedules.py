"""Which iterations are recorded."""

import math
import operator
from collections import deque
from collections.abc import Iterable
from statistics import median
from typing import Protocol, SupportsIndex, cast, runtime_checkable

import numpy as np

from gradscope.errors import UsageError


@runtime_checkable
class Schedule(Protocol):
    """Decides before an iteration begins whether it is recorded, and hears afterwards what it took."""

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` is to be recorded."""
        ...

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Hear how long an iteration took, and how much of that was spent in gradscope's own code.

        Of a recorded one both are with what it takes from those after it, beside which its numbers are worked out.
        """
        ...


class Every:
    """Record every n-th iteration, from iteration 0."""

    def __init__(self, n: SupportsIndex) -> None:
        whole = as_whole(n)
        if whole is None or whole < 1:
            raise UsageError(f"Every(n) expects a whole number of at least 1, got {n!r}.")
        self.n = whole

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` is a multiple of n."""
        return iteration % self.n == 0

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Do nothing: the spacing is fixed."""

    def __repr__(self) -> str:
        return f"Every({self.n})"


class At:
    """Record exactly the iterations that are named."""

    def __init__(self, iterations: Iterable[SupportsIndex]) -> None:
        try:
            named = list(iterations)
        except TypeError:
            raise UsageError(f"At(iterations) expects a collection of whole numbers, got {iterations!r}.") from None
        self.iterations = frozenset(map(self._checked, named))

    @staticmethod
    def _checked(iteration: SupportsIndex) -> int:
        whole = as_whole(iteration)
        if whole is None or whole < 0:
            raise UsageError(f"At(iterations) expects whole numbers of at least 0, got {iteration!r}.")
        return whole

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` was named."""
        return iteration in self.iterations

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Do nothing: the iterations are fixed."""

    def __repr__(self) -> str:
        return f"At({sorted(self.iterations)})"


class Budget:
    """Record as often as a share of the training time allows; dense at first, where gradients change most.

    Iterations 0, 1, 2, 4, 8 and 16 are recorded in advance, and what they cost is paid back: after them an iteration is
    recorded once all recordings together, it included, cost no more than `fraction` of the training so far.
    The cost of a recording is the larger of the time spent in gradscope's own code and the difference between the
    median recorded and the median idle iteration: hooks also slow the backward pass where no clock of ours runs, and a
    median is not misled by the user's own evaluation in between. Either is with half of what is worked out beside the
    training, which slows the iterations after it by about that. What an idle iteration costs is paid first, out of half
    of the share at most: of a tiny model there would be no recording else. A fifth of the share is left for what no
    clock of ours sees: cold caches after a recording, PyTorch's calls of our hooks.
    """

    _IN_ADVANCE = frozenset({0, 1, 2, 4, 8, 16})
    _FIRST_THAT_IS_PAID = max(_IN_ADVANCE) + 1
    _WINDOW = 31
    _SPENT = 0.8

    def __init__(self, fraction: float = 0.05) -> None:
        number = not isinstance(fraction, bool) and isinstance(fraction, int | float | np.integer | np.floating)
        if not number or not 0 < fraction < 1:
            raise UsageError(f"Budget(fraction) expects a number between 0 and 1, such as 0.05, got {fraction!r}.")
        self.fraction = float(fraction)
        self._idle: deque[float] = deque(maxlen=self._WINDOW)
        self._idle_own: deque[float] = deque(maxlen=self._WINDOW)
        self._recorded: deque[float] = deque(maxlen=self._WINDOW)
        self._own: deque[float] = deque(maxlen=self._WINDOW)
        self._count = 0
        self._next = self._FIRST_THAT_IS_PAID

    def wants(self, iteration: int) -> bool:
        """Return whether `iteration` is one of the first, or all recordings so far are paid for."""
        return iteration in self._IN_ADVANCE or iteration >= self._next

    def observe(self, iteration: int, seconds: float, own_seconds: float, *, recorded: bool) -> None:
        """Learn what recordings cost here, and when the next one will be paid for."""
        if not recorded:
            self._idle.append(seconds)
            self._idle_own.append(own_seconds)
            return
        self._count += 1
        if iteration > 0:  # The first iteration also pays for first use: allocations, lazy imports, caches.
            self._recorded.append(seconds)
            self._own.append(own_seconds)
        if self._idle and self._recorded:
            idle = median(self._idle)
            cost = max(_typical(self._own), _typical(self._recorded) - idle)
            allowed = self._SPENT * self.fraction * idle
            spared = max(allowed - median(self._idle_own), allowed / 2)
            self._next = max(iteration + 1, self._FIRST_THAT_IS_PAID, math.ceil((self._count + 1) * cost / spared))

    def __repr__(self) -> str:
        return f"Budget({self.fraction})"


def _typical(seconds: deque[float]) -> float:
    # The newest for themselves: what is worked out beside the training is not known yet in the first few.
    return max(median(seconds), median(list(seconds)[-3:]))


def as_whole(value: object) -> int | None:
    """Return a whole number of any library as an int; None for anything else, True and False among them."""
    if isinstance(value, bool):
        return None
    try:
        return operator.index(cast("SupportsIndex", value))
    except TypeError:
        return None


def as_schedule(schedule: Schedule | SupportsIndex | None) -> Schedule:
    """Return the schedule that the user meant: None is the default budget, an integer n is `Every(n)`.

    Raises:
        UsageError: `schedule` is none of these.
    """
    if schedule is None:
        return Budget()
    whole = as_whole(schedule)
    if whole is not None:
        return Every(whole)
    if isinstance(schedule, type) or not isinstance(schedule, Schedule):
        raise UsageError(
            f"schedule expects Every(n), At(iterations), Budget(fraction) or a whole number, got {schedule!r}."
        )
    return schedule

"""How many bytes of a run go to states kept unit by unit."""

STATE_BYTES = 256 * 2**20
"""Over the whole run."""
_LEVELS = 8


class StateBudget:
    """Spends bytes over a training whose length nobody knows, on ever fewer of its recorded iterations.

    An eighth goes to every recorded iteration, the next eighth to every second, then to every fourth, and so on: what
    would be used up after n iterations lasts for 32 n, and states are known of the end of a training as of its start.
    """

    def __init__(self) -> None:
        self._total, self._used = STATE_BYTES, 0
        self._newest: int | None = None
        self._keeps_newest = False
        self._since = 0
        self._thinned_from: int | None = None
        self._stopped_from: int | None = None

    def allows(self, size: int, iteration: int) -> bool:
        """Return whether to keep states of `size` bytes, and count them; all of an iteration are kept, or none."""
        if iteration != self._newest:
            self._begin(iteration)
        if not self._keeps_newest:
            return False
        if size > self._total - self._used:
            self._keeps_newest = False
            self._stopped_from = iteration if self._stopped_from is None else self._stopped_from
            return False
        self._used += size
        return True

    def _begin(self, iteration: int) -> None:
        self._newest = iteration
        self._since += 1
        self._keeps_newest = self._since >= self._spacing and self._stopped_from is None
        if self._keeps_newest:
            self._since = 0
        elif self._thinned_from is None:
            self._thinned_from = iteration

    @property
    def _spacing(self) -> int:
        return 1 << (_LEVELS * self._used // max(self._total, 1))

    def dropped(self) -> str | None:
        """Return in words what was not kept; None if all was."""
        budget = f"{self._total / 2**20:.0f} MB"
        if self._stopped_from is not None:
            return f"not kept from iteration {self._stopped_from} on: the budget of {budget} was used up"
        if self._thinned_from is not None:
            return (
                f"from iteration {self._thinned_from} on kept of ever fewer recorded iterations, of every "
                f"{self._spacing}th at the end, to stay below {budget}"
            )
        return None

"""Iterations whose step a GradScaler skipped, because the scaled gradient had overflowed."""

from collections.abc import Callable
from typing import Any

from torch.amp import GradScaler


class SkippedSteps:
    """Told by `scaler.update()`, which ends such an iteration: the optimiser is not called, and its hooks are silent.

    A GradScaler has no hooks; its instance's `update` is stood in for until `remove`.

    Args:
        scaler: of the training.
        skipped: called where an update came without a step before it.

    Attributes:
        stepped: whether the optimiser has stepped since the last update.
    """

    def __init__(self, scaler: GradScaler, skipped: Callable[[], None]) -> None:
        self.stepped = False
        self._scaler = scaler
        self._update = vars(scaler)["update"] = _Update(self, scaler, skipped)

    def remove(self) -> None:
        """Be told no more, and put the scaler back as it was, as far as no other watch stands in."""
        self._update.end()
        held = vars(self._scaler)
        # Whoever came later calls this one: the last to end puts back what was there before them all.
        while isinstance(newest := held.get("update"), _Update) and newest.ended:
            if newest.before is None:
                del held["update"]
            else:
                held["update"] = newest.before


class _Update:
    """Stands in for `update`.

    Attributes:
        before: what the instance held before; None where that was its class's.
        ended: whether it only hands the call on.
    """

    def __init__(self, skips: SkippedSteps, scaler: GradScaler, skipped: Callable[[], None]) -> None:
        self.before: Callable[..., None] | None = vars(scaler).get("update")
        self._scaler, self._update = scaler, scaler.update
        self._told: tuple[SkippedSteps, Callable[[], None]] | None = skips, skipped

    @property
    def ended(self) -> bool:
        return self._told is None

    def end(self) -> None:
        """Hold nothing of the training any more."""
        self._told = None

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever the user hands over
        self._update(*args, **kwargs)
        if self._told is None:
            return
        skips, skipped = self._told
        if not skips.stepped:
            skipped()
        skips.stepped = False

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # A copy or a pickle of the scaler has its own class's `update`.
        return getattr, (self._scaler, "update")

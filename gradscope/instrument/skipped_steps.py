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
        self._original = vars(scaler).get("update")
        vars(scaler)["update"] = _Update(self, scaler, skipped)

    def remove(self) -> None:
        """Put the scaler back as it was."""
        if self._original is None:
            vars(self._scaler).pop("update", None)
        else:
            vars(self._scaler)["update"] = self._original


class _Update:
    def __init__(self, skips: SkippedSteps, scaler: GradScaler, skipped: Callable[[], None]) -> None:
        self._skips, self._scaler, self._update, self._skipped = skips, scaler, scaler.update, skipped

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever the user hands over
        self._update(*args, **kwargs)
        if not self._skips.stepped:
            self._skipped()
        self._skips.stepped = False

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        # A copy or a pickle of the scaler has its own class's `update`.
        return getattr, (self._scaler, "update")

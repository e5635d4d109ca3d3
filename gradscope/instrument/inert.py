"""Hooks that do not travel: a copy or a pickle of a watched model records nothing."""

from collections.abc import Callable
from typing import Any


def _do_nothing(*_args: object, **_kwargs: object) -> None:
    """Stand in for a hook that was left behind."""


class InertWhenCopied:
    """A hook that turns into one that does nothing when its model is deep-copied or saved."""

    def __init__(self, hook: Callable[..., None]) -> None:
        self._hook = hook

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever PyTorch hands over
        """Call the hook."""
        self._hook(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, object]) -> Callable[..., None]:
        return _do_nothing

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _inert, ()


def _inert() -> Callable[..., None]:
    return _do_nothing

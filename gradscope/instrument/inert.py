"""Hooks that do not travel: a copy or a pickle of a watched model records nothing."""

import sys
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, cast

F = TypeVar("F", bound=Callable[..., Any])


def _do_nothing(*_args: object, **_kwargs: object) -> None:
    """Stand in for a hook that was left behind."""


class InertWhenCopied:
    """A hook that turns into one that does nothing when its model is deep-copied or saved."""

    def __init__(self, hook: Callable[..., None], *, in_forward: bool = True) -> None:
        # Only forward passes are compiled, and an optimiser's hooks count the frames above them.
        self._hook = outside_compilation(hook) if in_forward else hook

    def __call__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - whatever PyTorch hands over
        """Call the hook."""
        self._hook(*args, **kwargs)

    def __deepcopy__(self, memo: dict[int, object]) -> Callable[..., None]:
        return _do_nothing

    def __reduce__(self) -> tuple[Callable[[], Callable[..., None]], tuple[()]]:
        return _inert, ()


def outside_compilation(function: F) -> F:
    """Return `function` as torch.compile must leave it alone, which would trace what a hook does."""
    # Only where it is in use: importing it costs a second.
    return function if "torch._dynamo" not in sys.modules else _disabled(function)


def _disabled(function: F) -> F:
    return cast("F", sys.modules["torch._dynamo"].disable(function))


_disabled_once = cache(_disabled)


def method_outside_compilation(function: F) -> F:
    """Return `function` likewise, one that lives as long as its class: what was made of it is used again."""
    return function if "torch._dynamo" not in sys.modules else cast("F", _disabled_once(function))


def _inert() -> Callable[..., None]:
    return _do_nothing

"""Hooks that do not travel: a copy or a pickle of a watched model records nothing."""

import sys
from collections.abc import Callable
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
    compiler = sys.modules.get("torch._dynamo")
    return function if compiler is None else cast("F", compiler.disable(function))


def _inert() -> Callable[..., None]:
    return _do_nothing

"""What stands between gradscope's own troubles and the user's training loop."""

import sys
import time
import warnings
from collections.abc import Callable
from types import TracebackType


def say(message: str) -> None:
    """Warn; where warnings are made errors, print instead: no message of gradscope's may stop a training."""
    try:
        warnings.warn(message, stacklevel=4)
    except Warning:
        print(f"warning: {message}", file=sys.stderr)


class Guard:
    """Counts the time spent inside it, and hands over any error of gradscope's own instead of raising it.

    Args:
        give_up: called with the error.
    """

    def __init__(self, give_up: Callable[[Exception], None]) -> None:
        self._give_up = give_up
        self._entered = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.seconds += time.perf_counter() - self._entered
        if not isinstance(error, Exception):
            return False  # Ctrl-C and the like are the user's.
        self._give_up(error)
        return True

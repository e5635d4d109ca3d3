"""Doing something once a module has been imported, by whoever imports it first."""

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType


def when_imported(name: str, then: Callable[[], None]) -> Callable[[], None]:
    """Call a function once a module is there: at once if it is already.

    A script may set what a library reads when it is loaded, such as OMP_NUM_THREADS: who watches a script must not be
    the first to import anything.

    Args:
        name: of a top-level module.
        then: must not raise.

    Returns:
        What ends the waiting.
    """
    if name in sys.modules:
        then()
        return lambda: None
    waiting = _Waiting(name, then)
    sys.meta_path.insert(0, waiting)
    return waiting.end


class _Waiting(MetaPathFinder):
    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name, self._then = name, then

    def end(self) -> None:
        """Wait no more."""
        if self in sys.meta_path:
            sys.meta_path.remove(self)

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Let the others find it, and be told by its loader when it has been executed.

        Returns:
            What they found.
        """
        if fullname != self._name:
            return None
        others = (finder for finder in sys.meta_path if finder is not self)
        found = (finder.find_spec(fullname, path, target) for finder in others)
        spec = next((each for each in found if each is not None), None)
        if spec is not None and spec.loader is not None:
            with suppress(AttributeError):  # A loader that takes no other function: the import matters more.
                self._follow(spec.loader)
        return spec

    def _follow(self, loader: object) -> None:
        execute = loader.exec_module  # type: ignore[attr-defined]

        def exec_module(module: ModuleType) -> None:
            del loader.exec_module  # type: ignore[attr-defined]
            execute(module)
            if self in sys.meta_path:
                self.end()
                self._then()

        loader.exec_module = exec_module  # type: ignore[attr-defined]

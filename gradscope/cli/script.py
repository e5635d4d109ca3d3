"""Running a script in this process as `python` itself would."""

import builtins
import importlib.util
import io
import runpy
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType

from gradscope.errors import UsageError

_PACKAGE = Path(__file__).parents[1]
_OURS = (str(_PACKAGE / "cli"), str(_PACKAGE / "instrument" / "unchanged"), "<frozen runpy>", "<frozen importlib")


class NoScriptError(UsageError):
    """There is nothing to run."""


@dataclass(frozen=True)
class Script:
    """What `python` is told to run.

    Attributes:
        target: a file, a folder or archive with a `__main__.py`, or a module's name.
        arguments: its own.
        is_module: whether it is named as after `python -m`.
    """

    target: str
    arguments: Sequence[str]
    is_module: bool

    @property
    def name(self) -> str:
        """Without folders, packages and ending."""
        if self.is_module:
            return self.target.removesuffix(".__main__").rpartition(".")[2]
        return Path(self.target).resolve().stem or "script"

    def run(self) -> None:
        """Run it to its end; what it raises comes through.

        Raises:
            NoScriptError: there is no such file or module.
        """
        if not self.is_module and not Path(self.target).exists():
            raise NoScriptError(f"there is no script {self.target}: expected a Python file, or -m and a module's name")
        _be_as_python_is([self.target, *self.arguments], self._first_path())
        if self.is_module:
            self._find_module()
            runpy.run_module(self.target, run_name="__main__", alter_sys=True)
        elif Path(self.target).is_dir() or Path(self.target).suffix in {".zip", ".pyz", ".pyc"}:
            runpy.run_path(self.target, run_name="__main__")
        else:
            _execute(Path(self.target).absolute())

    def _find_module(self) -> None:
        """See that there is such a module; packages around it are imported.

        Raises:
            NoScriptError: there is none.
            ModuleNotFoundError: one of them looks for another.
        """
        try:
            found = importlib.util.find_spec(self.target)
        except ModuleNotFoundError as error:
            if not f"{self.target}.".startswith(f"{error.name}."):
                raise
            found = None
        if found is None:
            raise NoScriptError(f"there is no module {self.target}: expected what python -m would find from here")

    def _first_path(self) -> str:
        return str(Path.cwd() if self.is_module else Path(self.target).resolve().parent)


def _be_as_python_is(argv: list[str], first_path: str) -> None:
    # Not undone at the end: what a script leaves to be done at exit finds it so.
    sys.argv = argv
    if not sys.flags.safe_path:
        sys.path[0] = first_path  # In its place was where `gradscope` itself was found.


def _execute(file: Path) -> None:
    # As runpy.run_path does, which would give `__file__` and `sys.argv[0]` one value. Python makes the one absolute.
    with io.open_code(str(file)) as source:
        code = compile(source.read(), str(file), "exec", dont_inherit=True)
    main = ModuleType("__main__")
    vars(main).update(__file__=str(file), __builtins__=builtins, __cached__=None)
    sys.modules["__main__"] = main
    exec(code, vars(main))


def exit_code(error: BaseException | None) -> object:
    """Return with what `python` would end; what is not a number it would print."""
    if isinstance(error, SystemExit):
        return error.code
    if isinstance(error, KeyboardInterrupt):
        return 130
    return 0 if error is None else 1


def show(error: BaseException) -> None:
    """Print what a script raised as `python` would: without what called the script."""
    if isinstance(error, SystemExit):
        return
    error.__traceback__ = _without_ours(error.__traceback__)
    # As Python does; who ends by an error leaves it there.
    sys.last_type, sys.last_value, sys.last_traceback = type(error), error, error.__traceback__
    sys.excepthook(type(error), error, error.__traceback__)


def _without_ours(traceback: TracebackType | None) -> TracebackType | None:
    while traceback is not None and _is_ours(traceback):
        traceback = traceback.tb_next
    if traceback is not None:
        traceback.tb_next = _without_ours(traceback.tb_next)
    return traceback


def _is_ours(traceback: TracebackType) -> bool:
    return traceback.tb_frame.f_code.co_filename.startswith(_OURS)

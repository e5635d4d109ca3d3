"""What a user wrote in Python, found by `module:name`."""

import hashlib
import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from gradscope.errors import UsageError
from gradscope.study.spec.own_files import own_files

FORM = r"[A-Za-z_][\w.]*:[A-Za-z_]\w*"
"""A regular expression for `module:name`."""


def is_dotted(name: str) -> bool:
    """Return whether a name says where something is, rather than what it is called."""
    return ":" in name


def find_modules_in(folder: str) -> None:
    """Let modules be imported from the folder of a study file and from the current one, after all others."""
    for place in (folder, str(Path.cwd())):
        if place and place not in sys.path:
            sys.path.append(place)


def import_modules(names: Iterable[str]) -> None:
    """Import modules for what their decorators register.

    Raises:
        UsageError: one cannot be imported.
    """
    for name in names:
        _import(name)


def resolve(path: str | Callable[..., Any]) -> Callable[..., Any]:
    """Find what `module:name` names.

    Args:
        path: for example `my_module:MyCell`; what is no string is given back.

    Returns:
        What it names, something that can be called.

    Raises:
        UsageError: the module cannot be imported, or has no such name, or it cannot be called.
    """
    if not isinstance(path, str):
        return path
    module, _, name = path.partition(":")
    found = getattr(_import(module), name, None)
    if not callable(found):
        what = "has no" if found is None else "cannot be called:"
        raise UsageError(f"{path}: {module} {what} {name!r}. Expected a class or function, as module:name")
    made: Callable[..., Any] = found
    return made


def source_digest(names: Sequence[str]) -> str:
    """Return a digest of the source of the modules that names such as `module:name` or `module` lie in.

    What these import from beside them counts as well (`own_files`).
    """
    modules = sorted({name.partition(":")[0] for name in names})
    if not modules:
        return ""
    files: dict[str, Path | None] = {}
    for module in modules:
        files[module] = None
        files |= own_files(_import(module))
    digest = hashlib.sha256()
    for module, file in sorted(files.items()):
        digest.update(file.read_bytes() if file else module.encode())
    return digest.hexdigest()[:16]


def _import(module: str) -> Any:  # noqa: ANN401 - a module
    try:
        return importlib.import_module(module)
    except Exception as error:
        raise UsageError(
            f"cannot import {module!r}: {type(error).__name__}: {error}. Modules are looked for beside the study file, "
            "in the current folder and in the environment"
        ) from error

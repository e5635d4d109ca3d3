"""Which files a user's module is made of: its own, and those beside it that it imports."""

import ast
import inspect
import sysconfig
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

_LIBRARIES = {Path(place) for place in sysconfig.get_paths().values()}
_INSTALLED = ("site-packages", "dist-packages")


def own_files(module: ModuleType) -> dict[str, Path]:
    """Return the files of a module: the first is its own, the others those that it and they import.

    Only what lies where the module does is followed: what is imported from elsewhere is a library. So is gradscope, and
    a module that was installed itself, of which only its own file counts.

    Args:
        module: one that was imported.

    Returns:
        File by name of its module; none for a module that is not written in Python.
    """
    first = _source(module)
    if first is None:
        return {}
    name = module.__name__
    root = first.parents[name.count(".") + (first.name == "__init__.py")]
    files = {name: first}
    left = [] if root in _LIBRARIES or root.name in _INSTALLED else [name]
    while left:
        importing = left.pop()
        for other in _imported(importing, files[importing]):
            found = _file(root, other)
            if found is not None and other not in files and other.partition(".")[0] != "gradscope":
                files[other] = found
                left.append(other)
    return files


def _source(module: ModuleType) -> Path | None:
    try:
        file = inspect.getsourcefile(module)
    except TypeError:  # Built into Python, or a folder without __init__.py.
        return None
    return Path(file) if file else None


def _file(root: Path, name: str) -> Path | None:
    place = root.joinpath(*name.split("."))
    return next((file for file in (place / "__init__.py", place.with_name(f"{place.name}.py")) if file.is_file()), None)


def _imported(name: str, file: Path) -> Iterator[str]:
    """Yield what may be the names of modules that a file imports: `from a import b` may mean a.b."""
    try:
        tree = ast.parse(file.read_bytes())
    except SyntaxError:  # One that is not imported after all, or that says so itself.
        return
    package = name.split(".") if file.name == "__init__.py" else name.split(".")[:-1]
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _with_parents(alias.name)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            origin = ".".join([*above, *([node.module] if node.module else [])])
            if origin:
                yield from _with_parents(origin)
            for alias in node.names:
                yield f"{origin}.{alias.name}" if origin else alias.name


def _with_parents(name: str) -> Iterator[str]:
    parts = name.split(".")
    return (".".join(parts[: count + 1]) for count in range(len(parts)))

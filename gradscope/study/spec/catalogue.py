"""Which studies there are: the TOML files that come with gradscope, or the user's own."""

from collections.abc import Sequence
from pathlib import Path

import gradscope
from gradscope.errors import UsageError
from gradscope.study.spec.near_names import did_you_mean


def studies_folder() -> Path:
    """Find the built-in studies: inside an installed gradscope, or at the top of a checkout.

    Returns:
        The folder that holds the TOML files.
    """
    package = Path(gradscope.__file__).parent
    inside = package / "studies"
    return inside if inside.is_dir() else package.parent / "studies"


def built_in_studies() -> dict[str, Path]:
    """Return the built-in studies' files by name, in alphabetical order."""
    return {path.stem: path for path in sorted(studies_folder().glob("*.toml"))}


def find_study(name: str, others: Sequence[str] = ()) -> Path:
    """Find a study by what the user calls it.

    Args:
        name: a built-in study's name, or the path of a TOML file.
        others: names of studies that are no TOML file, to be suggested too.

    Returns:
        Its file.

    Raises:
        UsageError: there is no such study; with near names.
    """
    known = built_in_studies()
    if name in known:
        return known[name]
    path = Path(name).expanduser()
    if path.suffix == ".toml" or path.is_file():
        if not path.is_file():
            raise UsageError(f"cannot read the study {name}: {'a folder' if path.is_dir() else 'no such file'}")
        return path
    names = [*known, *others]
    near = did_you_mean(name, names) or "."
    raise UsageError(
        f"there is no study {name!r}{near} Built in: {', '.join(names)}. Your own study is a path that ends in .toml"
    )

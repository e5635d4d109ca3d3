"""Where the data of a study's tasks lie: beside the study file, as its modules do, or in the current folder."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gradscope.study.spec.task_settings import PATHS

_MODES = ("quick", "full")


def with_data_beside(raw: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return what a study file says, its tasks' relative paths made those beside it, where there is such a thing.

    A study is started from anywhere, and sent to others with its data. What `--set` names is in the current folder.

    Args:
        raw: of the file, its modes included, and not validated yet.
        folder: that the file lies in.
    """
    found = dict(raw)
    tasks = found.get("task")
    if isinstance(tasks, Mapping):
        found["task"] = {name: _found(table, folder) for name, table in tasks.items()}
    for mode in _MODES:
        if isinstance(found.get(mode), Mapping):
            found[mode] = with_data_beside(found[mode], folder)
    return found


def _found(table: object, folder: Path) -> object:
    if not isinstance(table, Mapping):
        return table
    return {key: _beside(value, folder) if key in PATHS else value for key, value in table.items()}


def _beside(value: object, folder: Path) -> object:
    if not isinstance(value, str) or not value or Path(value).is_absolute():
        return value
    try:
        return str(folder / value) if (folder / value).exists() else value
    except OSError:  # Too long for a name, perhaps: whoever reads it says so.
        return value

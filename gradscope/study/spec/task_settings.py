"""The tasks of a study file: `[task.NAME]` tables, each of one kind, checked against what that kind takes."""

import hashlib
import inspect
import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from gradscope.errors import UsageError
from gradscope.study.spec.dotted import is_dotted, resolve
from gradscope.study.spec.explain import explain
from gradscope.study.spec.near_names import did_you_mean
from gradscope.tasks import Task
from gradscope.tasks.task_table import TASK_TABLE

PATHS = ("path", "folder")
"""Settings that say where data lies: made absolute, and no part of a trial's name; the data's digest is."""


def kind_and_options(name: str, tables: Mapping[str, Mapping[str, Any]]) -> tuple[str, dict[str, Any]]:
    """Return what a task of the grid is: `[task.NAME]` with its own `kind`, or the kind of that name as it comes.

    Args:
        name: in the grid.
        tables: the study's `[task.NAME]` tables.

    Returns:
        The kind, and what is set of it.
    """
    options = {key: value for key, value in tables.get(name, {}).items() if key != "kind"}
    for key in PATHS:
        if options.get(key):
            options[key] = str(Path(options[key]).expanduser().resolve())
    return str(tables.get(name, {}).get("kind", name)), options


def make_task(kind: str, options: Mapping[str, Any]) -> Task:
    """Make a task; one that was made before in this process is used again, since some read data.

    Args:
        kind: a key of `TASK_TABLE`, or `module:name`.
        options: its settings.

    Returns:
        The task.

    Raises:
        UsageError: it cannot be made so.
    """
    return _made(kind, json.dumps(options, sort_keys=True))


def digest_of_data(kind: str, options: Mapping[str, Any]) -> str:
    """Return a digest of what a task reads.

    Args:
        kind: a key of `TASK_TABLE`, or `module:name`.
        options: its settings.

    Returns:
        The task's own `data_digest`. A task that has none is taken to read the file that `path` names, and whatever
        `folder` holds, which is known by its name alone; empty where neither is set.
    """
    return make_task(kind, options).data_digest or _digest_of_places(
        json.dumps([str(options[key]) for key in PATHS if options.get(key)])
    )


def task_mistakes(tables: object, blocks: object) -> list[str]:
    """Say what is wrong with the tasks of a study file.

    Args:
        tables: what stands under `task`.
        blocks: what stands under `grid`.

    Returns:
        One line a mistake, with its path; where the shape itself is wrong, that is said elsewhere.
    """
    known = tables if isinstance(tables, Mapping) else {}
    lines = [line for name, table in known.items() if isinstance(table, Mapping) for line in _table(str(name), table)]
    for number, block in enumerate(blocks if isinstance(blocks, list) else []):
        tasks = block.get("task", []) if isinstance(block, Mapping) else []
        for place, name in enumerate(tasks if isinstance(tasks, list) else []):
            if isinstance(name, str) and name not in known:
                lines += [f"grid.{number}.task.{place}: {line}" for line in _unknown(name, [*known, *TASK_TABLE])]
    return lines


def unused_tasks(names: Iterable[str], grids: Iterable[Sequence[Mapping[str, Any]]]) -> list[str]:
    """Say which tasks are set, but no block of any of these grids has them: whoever set them believes they count.

    Args:
        names: the tasks that are set.
        grids: each a list of blocks.

    Returns:
        One line a task, with its path.
    """
    used = list(dict.fromkeys(name for grid in grids for block in grid for name in block["task"]))
    return [
        f"task.{name}: no block of the grid has this task, so that this would change nothing. Its tasks: "
        f"{', '.join(used)}"
        for name in names
        if name not in used
    ]


@lru_cache(maxsize=32)
def _made(kind: str, options: str) -> Task:
    task: Task = _maker(kind)(**json.loads(options))
    return task


@lru_cache(maxsize=32)
def _digest_of_places(places: str) -> str:
    digest = hashlib.sha256()
    for place in map(Path, json.loads(places)):
        if place.is_file():
            with place.open("rb") as data:
                digest.update(hashlib.file_digest(data, "sha256").digest())
        else:
            digest.update(str(place).encode())
    return digest.hexdigest()[:16] if json.loads(places) else ""


def _maker(kind: str) -> Any:  # noqa: ANN401 - a class
    return resolve(kind if is_dotted(kind) else TASK_TABLE[kind].make)


def _table(name: str, table: Mapping[str, Any]) -> list[str]:
    kind = table.get("kind", name)
    unknown = _unknown(str(kind), list(TASK_TABLE))
    if unknown:
        return [f"task.{name}{'.kind' * ('kind' in table)}: {line}" for line in unknown]
    model = _model(str(kind))
    try:
        model.model_validate({key: value for key, value in table.items() if key != "kind"})
    except ValidationError as error:
        return [f"task.{name}.{line}" for line in explain(error, model)]
    return []


def _unknown(name: str, known: Sequence[str]) -> list[str]:
    if is_dotted(name):
        try:
            resolve(name)
        except UsageError as error:
            return [str(error)]
        return []
    if name in known:
        return []
    return [f"got {name!r}{did_you_mean(name, known) or '.'} Accepted: {', '.join(dict.fromkeys(known))}"]


@cache
def _model(kind: str) -> type[BaseModel]:
    """Return a model of what a kind of task takes: its parameters, their types and what they are if left out."""
    make = _maker(kind)
    parameters = inspect.signature(make).parameters.values()
    hints = _hints(make.__init__ if inspect.isclass(make) else make)
    fields: dict[str, Any] = {
        each.name: (hints.get(each.name, Any), ... if each.default is each.empty else each.default)
        for each in parameters
        if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    }
    extra: Literal["allow", "forbid"] = (
        "allow" if any(each.kind == each.VAR_KEYWORD for each in parameters) else "forbid"
    )
    config = ConfigDict(extra=extra, strict=True, arbitrary_types_allowed=True)
    return create_model("TaskOptions", __config__=config, **fields)


def _hints(make: Any) -> dict[str, Any]:  # noqa: ANN401 - a function
    try:
        return get_type_hints(make)
    except NameError:  # Names that a user's module imports for type checkers only: nothing is known of the types.
        return {}

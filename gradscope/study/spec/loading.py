"""From a TOML file to a valid StudySpec, with every mistake named at once."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import ValidationError

from gradscope.errors import UsageError
from gradscope.study.spec.data_places import with_data_beside
from gradscope.study.spec.dotted import find_modules_in, import_modules
from gradscope.study.spec.explain import explain
from gradscope.study.spec.overrides import apply_setting, lay_over, tasks_set
from gradscope.study.spec.study_spec import StudySpec
from gradscope.study.spec.task_settings import task_mistakes, unused_tasks

Mode = Literal["quick", "default", "full"]
_MODES: tuple[Mode, ...] = ("default", "quick", "full")


def load_study(path: Path, mode: Mode = "default", settings: Sequence[str] = ()) -> StudySpec:
    """Read a study file.

    Args:
        path: a TOML file.
        mode: `quick` and `full` lay the file's table of that name over the rest.
        settings: `key.path=value` changes, laid over last.

    Returns:
        The study as it is to be run.

    Raises:
        UsageError: the file cannot be read, is no TOML (with line and column), or says something that is not accepted:
            all mistakes at once, each with its path, those of the other modes too; or a module cannot be imported.
    """
    folder = path.resolve().parent
    raw = with_data_beside(_read(path), folder)
    find_modules_in(str(folder))
    modules = raw.get("modules", [])
    import_modules(modules if isinstance(modules, list) and all(isinstance(name, str) for name in modules) else [])
    mistakes: dict[str, None] = {}
    for each in _MODES:
        where = "" if each == "default" else f"with [{each}]: "
        known = {line.removeprefix(where) for line in mistakes}
        mistakes |= {where + line: None for line in _mistakes(_in_mode(raw, each)) if line not in known}
    if not mistakes:
        modes = [_in_mode(raw, each) for each in _MODES]
        set_somewhere = dict.fromkeys(name for each in modes for name in each.get("task", {}))
        mistakes = dict.fromkeys(unused_tasks(set_somewhere, [each["grid"] for each in modes]))
    if not mistakes:
        raw = _in_mode(raw, mode)
        for setting in settings:
            raw = apply_setting(raw, setting)
        mistakes = dict.fromkeys(_mistakes(raw)) or dict.fromkeys(unused_tasks(tasks_set(settings), [raw["grid"]]))
    if mistakes:
        count = "1 mistake" if len(mistakes) == 1 else f"{len(mistakes)} mistakes"
        with_settings = f" with --set {' --set '.join(settings)}" if settings else ""
        raise UsageError("\n  ".join([f"{path}{with_settings}: {count}", *mistakes]))
    return StudySpec.model_validate(raw).lying_in(str(folder))


def _read(path: Path) -> dict[str, Any]:
    try:
        # Editors on Windows put a byte-order mark first.
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is no valid TOML: {error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is no valid TOML: byte {error.start} is not UTF-8. Save it as UTF-8") from error
    except OSError as error:
        raise UsageError(f"cannot read the study {path}: {error.strerror or error}") from error


def _in_mode(raw: Mapping[str, Any], mode: str) -> dict[str, Any]:
    changes = raw.get(mode, {})
    return lay_over(raw, changes) if isinstance(changes, Mapping) else dict(raw)


def _mistakes(raw: Mapping[str, Any]) -> list[str]:
    lines = task_mistakes(raw.get("task"), raw.get("grid"))
    try:
        StudySpec.model_validate(raw)
    except ValidationError as error:
        return explain(error, StudySpec) + lines
    return lines

"""Changes laid over a study file: its own [quick] and [full] tables, and `--set key.path=value`."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from typing import Any

from gradscope.errors import UsageError

_RANGE = re.compile(r"(\d+)\.\.(\d+)")
_LONGEST = 10_000
_MODES = ("quick", "full")


def lay_over(base: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """Lay tables over tables, key by key; anything else, lists too, replaces what was there.

    Returns:
        A new dict; neither argument is changed.
    """
    merged = dict(base)
    for key, value in changes.items():
        under = merged.get(key)
        merged[key] = lay_over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged


def apply_setting(raw: Mapping[str, Any], setting: str) -> dict[str, Any]:
    """Lay one `key.path=value` over a study.

    The value is read as TOML (`--set training.iterations=50`, `--set 'grid.0.seed=[0, 1]'`); `0..9` is the list of the
    whole numbers from 0 to 9; what is neither is taken as a string, so that a file's path needs no quotes. In the path
    a number picks from a list, and a name goes into every table of it: `grid.seed=0..9` gives all blocks these seeds.

    Args:
        raw: the study as read from its file.
        setting: for example `task.text.path=my.txt`.

    Returns:
        A new dict. Whether the key exists is for the validation to say.

    Raises:
        UsageError: the setting has no `=`, its path leads through something that is no table, or into what a mode lays
            over the rest, which has been done by then.
    """
    path, equals, value = setting.partition("=")
    keys = _keys(path)
    if not equals or not all(keys):
        raise UsageError(f"--set expects key.path=value, got {setting!r}: for example --set training.iterations=100")
    if keys[0] in _MODES:
        there = ".".join(keys[1:]) or "training.iterations"
        raise UsageError(
            f"--set {setting}: settings are laid over the study after its mode, so that {keys[0]!r} comes too late. "
            f"Set the field itself: --set {there}=..."
        )
    return dict(_put(raw, keys, _value(value, setting), setting))


def tasks_set(settings: Iterable[str]) -> list[str]:
    """Return the tasks that settings such as `task.text.path=my.txt` are about."""
    paths = [_keys(setting.partition("=")[0]) for setting in settings]
    return list(dict.fromkeys(keys[1] for keys in paths if keys[0] == "task" and len(keys) > 1))


def _keys(path: str) -> list[str]:
    return [key.strip() for key in path.split(".")]


def _value(text: str, setting: str) -> Any:  # noqa: ANN401 - whatever TOML can hold
    span = _RANGE.fullmatch(text.strip())
    if span is not None:
        return _numbers(int(span[1]), int(span[2]), setting)
    try:
        read = tomllib.loads(f"value = {text}")
    except tomllib.TOMLDecodeError:
        return text.strip()
    return read["value"] if set(read) == {"value"} else text.strip()


def _numbers(first: int, last: int, setting: str) -> list[int]:
    if not first <= last < first + _LONGEST:
        raise UsageError(
            f"--set {setting}: expected a range such as 0..9, from the lower to the higher number, and at most "
            f"{_LONGEST} of them"
        )
    return list(range(first, last + 1))


def _put(node: Any, keys: list[str], value: Any, setting: str) -> Any:  # noqa: ANN401 - a node of a TOML tree
    if not keys:
        return value
    key, rest = keys[0], keys[1:]
    if isinstance(node, list):
        if not key.isdecimal() and node and all(isinstance(item, Mapping) for item in node):
            return [_put(item, keys, value, setting) for item in node]
        if not key.isdecimal() or int(key) >= len(node):
            raise UsageError(f"--set {setting}: expected a number from 0 to {len(node) - 1} at {key!r}, a list's place")
        place = int(key)
        return [*node[:place], _put(node[place], rest, value, setting), *node[place + 1 :]]
    if not isinstance(node, Mapping):
        raise UsageError(f"--set {setting}: {key!r} leads into {node!r}, which is no table. Shorten the path")
    return {**node, key: _put(node.get(key, {}), rest, value, setting)}

"""Metadata as names and values to read."""

from collections.abc import Mapping
from typing import Any

from gradscope.reporting.numbers import MISSING, seconds

_NAMES = {
    "trials": "Trials",
    "reused": "Taken from disk",
    "failed": "Failed",
    "seconds": "Wall time",
    "training": "Training, all trials",
    "dtype": "Precision",
}


def facts(values: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return names and values to read, in their order.

    Args:
        values: the provenance of a study or the metadata of a run; nested mappings and lists are spelt out.

    Returns:
        One pair a key.
    """
    return [(_name(str(key)), _words(str(key), value)) for key, value in values.items()]


def _name(key: str) -> str:
    words = key.replace("_", " ")
    return _NAMES.get(key, words[:1].upper() + words[1:])


def _words(key: str, value: Any) -> str:  # noqa: ANN401 - metadata holds anything
    if isinstance(value, Mapping):
        lines = [f"{name}: {_words('', inner)}" for name, inner in value.items()]
        # Only the first level gets lines of its own: `key` is empty inside.
        return ("\n" if key else ", ").join(lines) or MISSING
    if isinstance(value, (list, tuple, set)):
        return ", ".join(_words("", inner) for inner in value) or MISSING
    if key == "seconds" and isinstance(value, (int, float)):
        return seconds(float(value))
    return MISSING if value is None or value == "" else str(value)

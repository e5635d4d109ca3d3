"""Pydantic's errors in words: each with its path, what was got, and what is accepted."""

import re
import types
from collections.abc import Mapping, Sequence
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError

from gradscope.study.spec.near_names import did_you_mean

_EXPECTED = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "finite_number": "a finite number",
    "string_type": 'a string in "quotes"',
    "list_type": "a list in [brackets]",
    "dict_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "greater_than": "a number above {gt}",
    "greater_than_equal": "at least {ge}",
    "less_than": "a number below {lt}",
    "too_short": "at least {min_length} entry",
    "string_too_short": "some words",
    "string_too_long": "at most {max_length} characters",
    "string_pattern_mismatch": "lower-case letters, digits, - and _",
}


def explain(error: ValidationError, model: type[BaseModel]) -> list[str]:
    """Say each of the errors in one line.

    Args:
        error: what pydantic raised.
        model: the model that was validated.

    Returns:
        Lines such as `grid.0.cell.1: got 'lstmm', did you mean lstm? Accepted: rnn_tanh, rnn_relu, lstm, gru`.
    """
    return [f"{'.'.join(map(str, each['loc'])) or 'file'}: {_say(each, model)}" for each in error.errors()]


def _say(error: Any, model: type[BaseModel]) -> str:  # noqa: ANN401 - pydantic's ErrorDetails, whose keys vary
    kind, got, context = error["type"], error["input"], error.get("ctx", {})
    if kind == "extra_forbidden":
        fields = _fields(model, error["loc"][:-1])
        return f"unknown field{_near(error['loc'][-1], fields)} Accepted: {', '.join(fields)}"
    if kind == "missing":
        return "missing, but required"
    if kind == "literal_error":
        accepted = re.findall(r"'([^']*)'", context["expected"])
        return f"got {got!r}{_near(got, accepted)} Accepted: {', '.join(accepted)}"
    if kind == "value_error":
        return str(context["error"])
    if kind == "list_type" and isinstance(got, Mapping):
        name = ".".join(map(str, error["loc"]))
        return f"expected one table or more, each under [[{name}]], got [{name}]"
    if kind in _EXPECTED:
        return f"expected {_EXPECTED[kind].format(**context)}, got {_short(got)}"
    return f"{error['msg']}, got {_short(got)}"


def _near(name: object, known: Sequence[str]) -> str:
    return (did_you_mean(str(name), known) or ".") if known else "."


def _short(value: object) -> str:
    shown = repr(value)
    return shown if len(shown) <= 60 else f"{shown[:57]}..."


def _fields(model: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Return the field names of the model at a path such as ("grid", 0)."""
    found: Any = model
    for step in path:
        if isinstance(step, str):
            found = _model_in(found.model_fields[step].annotation)
    return list(found.model_fields)


def _model_in(annotation: Any) -> Any:  # noqa: ANN401 - a type, however it was written
    """Return the model inside list[Model], Model | None and the like."""
    if get_origin(annotation) in {list, types.UnionType}:
        return next(_model_in(part) for part in get_args(annotation) if part is not type(None))
    return get_args(annotation)[0] if hasattr(annotation, "__metadata__") else annotation

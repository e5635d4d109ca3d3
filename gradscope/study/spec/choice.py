"""The little language of a study's choices: `name` or `name(number)`, such as `orthogonal` or `norm(1.0)`.

Clippings may be several with a plus between them: `omega(2)+norm(1.0)`.

In place of the name stands `module:function` for what a user wrote in Python.
"""

import math
import re
from collections.abc import Mapping
from typing import NamedTuple, Protocol

from gradscope.cells.cell_table import CELL_TABLE
from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.errors import UsageError
from gradscope.study.spec.clipping_table import CLIPPING_TABLE
from gradscope.study.spec.dotted import FORM, is_dotted, resolve
from gradscope.study.spec.near_names import did_you_mean

_FORM = re.compile(rf"(?P<name>{FORM}|[a-z][a-z_-]*)(?:\((?P<argument>[^()]+)\))?")


_PLUS = re.compile(r"\+(?![^(]*\))")
"""Not the one of a number such as 1e+3."""


class Choice(NamedTuple):
    """One choice, taken apart."""

    name: str
    argument: float | None


class _Entry(Protocol):
    @property
    def argument(self) -> str: ...
    @property
    def argument_meaning(self) -> str: ...
    @property
    def above(self) -> float | None: ...


def parse_choice(text: str) -> Choice:
    """Take `name` or `name(number)` apart.

    Args:
        text: for example `normal(0.001)`.

    Returns:
        The name and its number, None where there is none.

    Raises:
        ValueError: the text has another form.
    """
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(f"expected name or name(number), got {text!r}")
    written = match["argument"]
    try:
        return Choice(match["name"], None if written is None else float(written))
    except ValueError:
        raise ValueError(f"expected a number between the brackets, got {text!r}") from None


def parse_choices(text: str) -> list[Choice]:
    """Take choices apart that act one after the other.

    Args:
        text: for example `omega(2)+norm(1.0)`.

    Returns:
        One or more.

    Raises:
        ValueError: one of them has another form.
    """
    return [parse_choice(each) for each in _PLUS.split(text)]


def check_initialisation(text: str) -> str:
    """Refuse what is no initialisation.

    Returns:
        The text, unchanged.

    Raises:
        ValueError: with what was got, what is accepted and near names.
    """
    return _check(text, INITIALISATION_TABLE)


def check_clipping(text: str) -> str:
    """Refuse what is no clipping, and are no clippings that act one after the other.

    Returns:
        The text, unchanged.

    Raises:
        ValueError: with what was got, what is accepted and near names.
    """
    for each in _PLUS.split(text):
        _check(each, CLIPPING_TABLE)
    return text


def check_cell(text: str) -> str:
    """Refuse what is no cell.

    Returns:
        The text, unchanged.

    Raises:
        ValueError: with what was got, what is accepted and near names.
    """
    if is_dotted(text):
        _find(text)
    elif text not in CELL_TABLE:
        near = did_you_mean(text, CELL_TABLE) or "."
        raise ValueError(f"got {text!r}{near} Accepted: {', '.join(CELL_TABLE)}")
    return text


def written_as(name: str, entry: _Entry) -> str:
    """Return how a choice is written: `default`, `normal(number above 0)`, `chrono[(number above 2)]`.

    Args:
        name: of the table's row.
        entry: the row.
    """
    number = "(number)" if entry.above is None else f"(number above {entry.above:g})"
    return name + {"none": "", "required": number, "optional": f"[{number}]"}[entry.argument]


def _check(text: str, table: Mapping[str, _Entry]) -> str:
    choice = parse_choice(text)
    if is_dotted(choice.name):
        _find(choice.name)
        return text
    forms = {name: written_as(name, entry) for name, entry in table.items()}
    if choice.name not in forms:
        raise ValueError(f"got {text!r}{did_you_mean(choice.name, forms) or '.'} Accepted: {', '.join(forms.values())}")
    entry = table[choice.name]
    if not _fits(choice.argument, entry):
        meaning = f"; the number is the {entry.argument_meaning}" if entry.argument_meaning else ""
        raise ValueError(f"expected {forms[choice.name]}, got {text!r}{meaning}")
    return text


def _find(path: str) -> None:
    try:
        resolve(path)
    except UsageError as error:
        raise ValueError(str(error)) from error


def _fits(number: float | None, entry: _Entry) -> bool:
    if number is None:
        return entry.argument != "required"
    return entry.argument != "none" and math.isfinite(number) and (entry.above is None or number > entry.above)

"""The little language of a study's choices: `name` or `name(number)`, such as `orthogonal` or `norm(1.0)`."""

import math
import re
from typing import NamedTuple

from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.study.near_names import did_you_mean

_FORM = re.compile(r"(?P<name>[a-z][a-z_-]*)(?:\((?P<argument>[^()]+)\))?")

CLIPPINGS = {
    "none": "the gradient as it is",
    "norm": "the whole gradient scaled down to this norm where it is longer; its direction stays",
    "value": "each component of the gradient cut to +- this value; its direction bends",
}
"""Name -> what it does to the gradient before each optimiser step."""


class Choice(NamedTuple):
    """One choice, taken apart."""

    name: str
    argument: float | None


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


def check_initialisation(text: str) -> str:
    """Refuse what is no initialisation.

    Returns:
        The text, unchanged.

    Raises:
        ValueError: with what was got, what is accepted and near names.
    """
    forms = {name: _form(name, entry.argument, entry.above) for name, entry in INITIALISATION_TABLE.items()}
    choice = _known(text, forms)
    entry = INITIALISATION_TABLE[choice.name]
    if not _fits(choice.argument, entry.argument, entry.above):
        meaning = f"; the number is the {entry.argument_meaning}" if entry.argument_meaning else ""
        raise ValueError(f"expected {forms[choice.name]}, got {text!r}{meaning}")
    return text


def check_clipping(text: str) -> str:
    """Refuse what is no clipping.

    Returns:
        The text, unchanged.

    Raises:
        ValueError: with what was got, what is accepted and near names.
    """
    argument = {name: "none" if name == "none" else "required" for name in CLIPPINGS}
    forms = {name: _form(name, argument[name], 0.0) for name in CLIPPINGS}
    choice = _known(text, forms)
    if not _fits(choice.argument, argument[choice.name], 0.0):
        raise ValueError(f"expected {forms[choice.name]}, got {text!r}")
    return text


def _form(name: str, argument: str, above: float | None) -> str:
    """Return how a choice is written: `default`, `normal(number above 0)`, `chrono[(number above 2)]`."""
    number = "(number)" if above is None else f"(number above {above:g})"
    return name + {"none": "", "required": number, "optional": f"[{number}]"}[argument]


def _known(text: str, forms: dict[str, str]) -> Choice:
    choice = parse_choice(text)
    if choice.name not in forms:
        raise ValueError(f"got {text!r}{did_you_mean(choice.name, forms)} Accepted: {', '.join(forms.values())}")
    return choice


def _fits(number: float | None, argument: str, above: float | None) -> bool:
    if number is None:
        return argument != "required"
    return argument != "none" and math.isfinite(number) and (above is None or number > above)

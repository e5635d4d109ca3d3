"""The little language of a study's choices: `name` or `name(number)`, such as `orthogonal` or `norm(1.0)`."""

import re
from typing import NamedTuple

_FORM = re.compile(r"(?P<name>[a-z][a-z-]*)(?:\((?P<argument>[^()]+)\))?")


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
    match = _FORM.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"expected a name or name(number), got {text!r}")
    written = match["argument"]
    try:
        return Choice(match["name"], None if written is None else float(written))
    except ValueError:
        raise ValueError(f"expected a number between the brackets, got {text!r}") from None

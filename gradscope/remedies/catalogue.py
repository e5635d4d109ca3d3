"""Which remedies there are, and how a user names them."""

import difflib
import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gradscope.errors import UsageError
from gradscope.remedies.clipping import ClipNorm, ClipValue
from gradscope.remedies.learning_rate import RateSchedule
from gradscope.remedies.remedy import UNCHANGED, Remedy
from gradscope.remedies.replacement import ReplacedByGRU, ReplacedByLSTM
from gradscope.remedies.residual import Residual
from gradscope.remedies.starting_points import StartingPoint
from gradscope.remedies.truncation import Truncation

DEFAULT = (
    "clip-norm(1)",
    "clip-norm(0.1)",
    "clip-value(0.1)",
    "orthogonal",
    "identity",
    "chrono",
    "forget-bias(1)",
    "lstm",
    "gru",
    "residual",
    "truncate(10)",
    "rate-schedule",
)
"""Tried where nothing else is asked for."""

_FORM = re.compile(r"([a-z][a-z-]*)(?:\(([^()]+)\))?")


@dataclass(frozen=True)
class _Entry:
    form: str
    make: Callable[..., Remedy]
    above: float = 0.0
    whole: bool = False


_REMEDIES = {
    "clip-norm": _Entry("clip-norm(number)", ClipNorm),
    "clip-value": _Entry("clip-value(number)", ClipValue),
    "orthogonal": _Entry("orthogonal", lambda: StartingPoint("orthogonal")),
    "identity": _Entry("identity", lambda: StartingPoint("identity")),
    "chrono": _Entry("chrono[(times)]", lambda times=None: StartingPoint("chrono", times), above=2.0),
    "forget-bias": _Entry("forget-bias(number)", lambda bias: StartingPoint("forget-bias", bias), above=-math.inf),
    "lstm": _Entry("lstm", ReplacedByLSTM),
    "gru": _Entry("gru", ReplacedByGRU),
    "residual": _Entry("residual", Residual),
    "truncate": _Entry("truncate(times)", lambda times: Truncation(int(times)), whole=True),
    "rate-schedule": _Entry("rate-schedule", RateSchedule),
}


def find_remedies(asked: Sequence[str | Remedy] | None) -> list[Remedy]:
    """Return the remedies that the user asked for.

    Args:
        asked: names such as `clip-norm(1)`, or remedies of the user's own; None for the default ones.

    Returns:
        Each once, in that order.

    Raises:
        UsageError: a name is not known or its number makes no sense; nothing or something twice is asked for.
    """
    if isinstance(asked, str | Remedy):
        asked = [asked]
    found = [_find(each) for each in (DEFAULT if asked is None else asked)]
    if not found:
        raise UsageError("what_if expects at least one remedy, got an empty list: leave it out to try the usual ones.")
    names = [remedy.name for remedy in found]
    twice = sorted({name for name in names if names.count(name) > 1 or name == UNCHANGED.name})
    if twice:
        raise UsageError(f"what_if tries each remedy once, got {', '.join(twice)} twice: give each a name of its own.")
    return found


def _find(asked: object) -> Remedy:
    if isinstance(asked, Remedy):
        return asked
    match = _FORM.fullmatch(asked) if isinstance(asked, str) else None
    entry = _REMEDIES.get(match[1]) if match else None
    if match is None or entry is None:
        near = difflib.get_close_matches(match[1] if match else str(asked), _REMEDIES, n=1, cutoff=0.6)
        raise UsageError(
            f"what_if knows no remedy {asked!r}{f', did you mean {near[0]}?' if near else '.'} Accepted: "
            f"{', '.join(entry.form for entry in _REMEDIES.values())}, and your own gradscope.remedies.remedy.Remedy."
        )
    number = _number(match[2], entry)
    if "[" not in entry.form and (number is None) == ("(" in entry.form):
        raise UsageError(f"what_if expects {entry.form}, got {asked!r}.")
    return entry.make() if number is None else entry.make(number)


def _number(written: str | None, entry: _Entry) -> float | None:
    """Return the number between the brackets.

    Raises:
        UsageError: it is none, or too small, or no whole number where one is needed.
    """
    if written is None:
        return None
    try:
        number = float(written)
    except ValueError:
        number = math.nan
    if not (math.isfinite(number) and number > entry.above) or (entry.whole and number != int(number)):
        kind = "a whole number" if entry.whole else "a number"
        bound = "" if entry.above == -math.inf else f" above {entry.above:g}"
        raise UsageError(f"what_if expects {entry.form} with {kind}{bound}, got {written!r}.")
    return number

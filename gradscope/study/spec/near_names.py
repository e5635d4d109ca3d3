"""Suggestions for a name that does not exist."""

import difflib
from collections.abc import Iterable


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Suggest the known names nearest to a mistyped one.

    Args:
        name: what was written.
        known: what exists.

    Returns:
        For example `, did you mean lstm?`, or "" if nothing comes near.
    """
    lowered = {candidate.lower(): candidate for candidate in known}
    near = difflib.get_close_matches(name.lower(), lowered, n=2, cutoff=0.6)
    return f", did you mean {' or '.join(lowered[match] for match in near)}?" if near else ""

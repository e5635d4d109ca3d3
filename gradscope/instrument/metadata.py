"""What a user says about a run."""

import reprlib
from collections.abc import Mapping

from gradscope.errors import UsageError
from gradscope.instrument.schedules import as_whole

LAG = "lag"
"""Key of how far back the task has to look: verdicts are judged by it."""


def checked_metadata(metadata: object) -> dict[str, object]:
    """Return what the user said, the lag as an int; nothing for None.

    Raises:
        UsageError: it is no mapping, or its lag is none.
    """
    if metadata is None:
        return {}
    if not isinstance(metadata, Mapping):
        raise UsageError(
            f"metadata expects a mapping that JSON can say, such as {{'lag': 59}}, got {reprlib.repr(metadata)}."
        )
    said = dict(metadata)
    if said.get(LAG) is None:
        return said
    lag = as_whole(said[LAG])
    if lag is None or lag < 1:
        raise UsageError(
            "metadata's 'lag', how many times back the task has to look, expects a whole number of at least 1, got "
            f"{reprlib.repr(said[LAG])}. Leave it out if that is not known."
        )
    return {**said, LAG: lag}

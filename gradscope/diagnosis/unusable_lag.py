"""A lag that the run's metadata says and nobody can use is not the same as none."""

import reprlib

from gradscope.diagnosis.evidence import task_lag
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run


def find_unusable_lag(run: Run) -> Finding | None:
    """Return a finding, for information, if what the metadata say of the lag is no whole number of at least 1."""
    user = run.metadata.get("user")
    said = user.get("lag") if isinstance(user, dict) else None
    if said is None or task_lag(run) is not None:
        return None
    return Finding(
        code="unusable-lag",
        severity="info",
        layer=None,
        message=(
            f"The run's metadata say {reprlib.repr(said)} of the lag, how many times back the task has to look, and "
            "not a whole number of at least 1: all is judged as if it were not known."
        ),
        advice=(
            "Give a number of time steps, watch(metadata={'lag': 59}); of this run, correct metadata, user, lag in its "
            "run.json.",
        ),
        meaning="Whether enough of the gradient arrives is judged over the whole length of the sequences instead.",
    )

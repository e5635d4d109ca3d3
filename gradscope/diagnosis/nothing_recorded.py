"""A run without a single recorded gradient is not a healthy run."""

from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run


def find_nothing_recorded(run: Run) -> Finding | None:
    """Return a finding if no iteration's gradients were recorded."""
    if len(run.timesteps):
        return None
    return Finding(
        code="nothing-recorded",
        severity="warning",
        layer=None,
        message=(
            f"The run has {len(run.iterations)} iterations, and the gradients of none were recorded: nothing is judged."
        ),
        evidence={"iterations": len(run.iterations)},
        advice=(
            "Check that backward() and optimizer.step() run inside the with block of watch(...).",
            "If training is young, wait for the next flush; else choose a denser schedule: watch(schedule=10).",
        ),
        meaning="That nothing is found here says nothing of the training.",
    )

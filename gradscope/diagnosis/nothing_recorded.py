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
        message=f"The run has {_iterations(len(run.iterations))} recorded: nothing is judged.",
        evidence={"iterations": len(run.iterations)},
        advice=(
            "Check that backward() and optimizer.step() run inside the with block of watch(...).",
            "If training is young, wait for the next flush; else choose a denser schedule: watch(schedule=10).",
        ),
        meaning="That nothing is found here says nothing of the training.",
    )


def _iterations(count: int) -> str:
    if count == 1:
        return "1 iteration, and its gradients were not"
    return f"{count:,} iterations, and the gradients of none were"

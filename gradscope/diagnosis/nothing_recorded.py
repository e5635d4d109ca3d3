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
        advice=_advice(run),
        meaning="That nothing is found here says nothing of the training.",
    )


def _advice(run: Run) -> tuple[str, ...]:
    if run.parameters["gradient_norm"].gt(0).any():
        return (
            "Other weights have a gradient, and nothing comes through the recurrent layers: look for "
            "requires_grad_(False), torch.no_grad() or a detach() around them.",
            "If they are frozen on purpose, let their inputs require a gradient: what goes back through them is then "
            "recorded.",
        )
    return (
        "Check that backward() and optimizer.step() run inside the with block of watch(...).",
        "If training is young, wait for the next flush; else choose a denser schedule: watch(schedule=10).",
    )


def _iterations(count: int) -> str:
    if count == 1:
        return "1 iteration, and its gradients were not"
    return f"{count:,} iterations, and the gradients of none were"

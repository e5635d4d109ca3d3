"""A layer that is called for one time after the other, and never handed the state that it returned."""

from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding


def find_one_time_calls(evidence: LayerEvidence) -> Finding | None:
    """Return a finding, for information, if a layer was called for a single time, several times an iteration."""
    rows = evidence.timesteps
    calls = int(rows.groupby("iteration")["call"].nunique().max())
    if rows["time"].max() > 0 or calls < 2:
        return None
    return Finding(
        code="one-time-calls",
        severity="info",
        layer=evidence.layer,
        message=(
            f"{evidence.layer} runs a single time a call, {calls} calls an iteration, and no call continues another: "
            "each is a sequence of its own, and none has a way back to judge."
        ),
        evidence={"calls": calls},
        advice=(
            "Hand the state on, as in `output, state = layer(x, state)`: calls that do are one sequence. A detached "
            "copy of the state (`clone`, NumPy) is like any other tensor, and so is one inside reentrant checkpoints.",
            "Give a layer of two directions the whole sequence: one time after the other, its reverse direction has "
            "nothing to read.",
        ),
        meaning="A layer that is not handed its state remembers nothing, and its gradient goes no time back.",
    )

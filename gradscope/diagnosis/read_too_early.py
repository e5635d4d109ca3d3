"""The loss takes a layer's output where the layer has read a single time."""

from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding


def find_read_too_early(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if all of the gradient enters at the first time that the layer reads, and it reads on.

    It is so of a reverse direction whose output is taken at the last time, as `output[-1]` does: that direction begins
    there.
    """
    if not read_too_early(evidence):
        return None
    length = _length(evidence)
    order = ", from the last to the first," if evidence.reverse else ""
    return Finding(
        code="read-too-early",
        severity="warning" if evidence.lag is None else "error",
        layer=evidence.layer,
        message=(
            f"{evidence.layer} reads up to {steps(length)}{order} and the loss takes its output at the first of them "
            "alone: nothing that it reads afterwards changes the loss."
        ),
        evidence={"length": length},
        advice=_advice(reverse=evidence.reverse),
        meaning="The layer works as one without memory: no time lies between what it reads and where it is answered.",
        reference="PyTorch documentation, nn.LSTM: outputs and h_n of a bidirectional layer",
        iteration=evidence.first_iteration if evidence.start.longest == 1 else None,
    )


def read_too_early(evidence: LayerEvidence) -> bool:
    """Return whether every sequence's gradient enters at the first of several times that the layer reads."""
    return evidence.end.longest == 1 and evidence.end.all_zero_lag != 0 and _length(evidence) > 1


def _length(evidence: LayerEvidence) -> int:
    return int(evidence.timesteps["time"].max()) + 1


def _advice(*, reverse: bool) -> tuple[str, ...]:
    if reverse:
        return (
            "Take the reverse direction where it has read everything: its last state, h_n[-1], or its half of the "
            "output at time 0.",
            "Or pool the outputs over all times (maximum, mean, attention).",
        )
    return (
        "Take the output at the last time, or the last state, h_n.",
        "Check which axis is time: layers take (time, batch, feature), with batch_first=True (batch, time, feature).",
    )

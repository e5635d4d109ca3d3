"""The gradient stops at once on its way back: something cuts it."""

from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding


def find_gradient_cut_off(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if every sequence's gradient ends in exact zeros without having become small before."""
    decay = evidence.end
    if not decay.cut_off or decay.all_zero_lag is None:
        return None
    return Finding(
        code="gradient-cut-off",
        severity="error",
        layer=evidence.layer,
        message=(
            f"The gradient is exactly 0 from {steps(decay.all_zero_lag)} back on in every sequence, and it was not "
            "small before: something cuts it there."
        ),
        evidence={"all_zero_lag": decay.all_zero_lag, "zeros": decay.zeros},
        advice=_advice(evidence.kind),
        meaning="No weight learns from what happened before that point; the state may still carry it forwards.",
        reference="Williams & Peng 1990 (truncation); Lu et al. 2019, arXiv:1903.06733 (dead relu units)",
        iteration=_since(evidence),
    )


def _since(evidence: LayerEvidence) -> int | None:
    return evidence.first_iteration if evidence.start.cut_off else None


def _advice(kind: str) -> tuple[str, ...]:
    detached = (
        "Look for a detach(), a torch.no_grad() or a mask inside the sequence; truncated training does this on purpose."
    )
    dead = "Look at saturation: relu units that are off for every input pass nothing back. Lower the learning rate."
    return (dead, detached) if kind == "rnn_relu" else (detached,)

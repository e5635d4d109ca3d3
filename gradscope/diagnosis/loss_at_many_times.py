"""The loss enters at many times, so how far back it reaches cannot be read from the total gradient."""

from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding


def find_loss_at_many_times(evidence: LayerEvidence) -> Finding | None:
    """Return a finding, for information, if the loss enters at more than one time."""
    if evidence.verdict.kind != "mixed":
        return None
    return Finding(
        code="loss-at-many-times",
        severity="info",
        layer=evidence.layer,
        message=evidence.verdict.reason,
        evidence={"loss_times": evidence.loss_times},
        advice=("To see how far back one loss reaches, record a few iterations with the loss at the last time only.",),
        meaning="Neither a vanishing nor a short reach can be excluded here; growth can still be proven, and is.",
        reference="Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063 (the gradient as a sum over losses and times)",
    )

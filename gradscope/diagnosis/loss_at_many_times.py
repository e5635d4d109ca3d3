"""The loss enters at many times, so how far back it reaches cannot be read from the total gradient."""

import re

from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding


def find_loss_at_many_times(evidence: LayerEvidence) -> Finding | None:
    """Return a finding, for information, if the loss enters at more than one time."""
    if evidence.verdict.kind != "mixed":
        return None
    above = _layer_above(evidence)
    through = f" Here it comes through {above}, the layer above, which sends a gradient back at each of its times."
    return Finding(
        code="loss-at-many-times",
        severity="info",
        layer=evidence.layer,
        message=evidence.verdict.reason + (through if above else ""),
        evidence={"loss_times": evidence.loss_times},
        advice=(
            "Look at the uppermost layer: it is judged wherever the loss itself enters once."
            if above
            else "To see how far back one loss reaches, record a few iterations with the loss at the last time only.",
        ),
        meaning="Neither a vanishing nor a short reach can be excluded here; growth can still be proven, and is.",
        reference="Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063 (the gradient as a sum over losses and times)",
    )


def _layer_above(evidence: LayerEvidence) -> str | None:
    """Return the next layer of the same stack, in whichever direction it reads first."""
    place = re.fullmatch(r"(.*\bl)(\d+)(?:_reverse)?", evidence.layer)
    if place is None:
        return None
    above = f"{place[1]}{int(place[2]) + 1}"
    return above if above in evidence.run.layers else None

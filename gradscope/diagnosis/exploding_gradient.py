"""The gradient grows on its way back through time."""

import math

from gradscope.analysis import number
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding, Severity

_HARMFUL = 100.0
_NOTABLE = 10.0

_MEANING = (
    "The earliest times decide the gradient's size and direction, a small change of a weight changes the loss by a "
    "lot, and one bad batch can throw the weights far off."
)
_REFERENCE = "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063"


def find_exploding_gradient(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if the layer's gradient explodes; growth below tenfold over the lag is only worth knowing."""
    if evidence.verdict.kind == "exploding":
        return _by_rate(evidence)
    if evidence.verdict.kind == "mixed" and evidence.amplification >= _NOTABLE:
        return _by_amplification(evidence)
    return None


def _by_rate(evidence: LayerEvidence) -> Finding:
    found, decay = evidence.verdict, evidence.end
    before = "it did so from the start" if evidence.start_verdict.kind == "exploding" else "it did not at the start"
    numbers: dict[str, float | int | str] = {
        "rate": decay.rate,
        "rate_low": decay.rate_low,
        "rate_high": decay.rate_high,
        "rate_at_start": evidence.start.rate,
        "doubling_time": decay.half_life,
        "lag": found.lag,
        "growth": found.growth,
        "sequences": decay.sequences,
    }
    return Finding(
        code="exploding-gradient",
        severity=_severity(found.growth),
        layer=evidence.layer,
        message=f"The gradient explodes on its way back through time; {before}. {found.reason}",
        evidence=numbers,
        advice=_advice(evidence),
        meaning=_MEANING,
        reference=_REFERENCE,
        iteration=_since(evidence),
    )


def _by_amplification(evidence: LayerEvidence) -> Finding:
    factor = number(evidence.amplification)
    return Finding(
        code="exploding-gradient",
        severity=_severity(evidence.amplification),
        layer=evidence.layer,
        message=(
            f"The gradient explodes on its way back through time: it gets {factor} times larger than everything that "
            "the losses put in behind it, so some way back makes it grow by that factor at least."
        ),
        evidence={"amplification": evidence.amplification, "loss_times": evidence.loss_times},
        advice=_advice(evidence),
        meaning=_MEANING,
        reference=_REFERENCE,
    )


def _since(evidence: LayerEvidence) -> int | None:
    if evidence.start_verdict.kind == "exploding":
        return evidence.first_iteration
    return evidence.began(lambda rates: rates > 0)


def _severity(growth: float) -> Severity:
    if math.isnan(growth) or growth >= _HARMFUL:
        return "error"
    return "warning" if growth >= _NOTABLE else "info"


def _advice(evidence: LayerEvidence) -> tuple[str, ...]:
    start = "the identity scaled below 1" if evidence.kind == "rnn_relu" else "orthogonal"
    advice = [
        "Clip the gradient's norm before the optimizer's step: torch.nn.utils.clip_grad_norm_(model.parameters(), 1).",
        f"Start the recurrent weights {'as ' if evidence.kind == 'rnn_relu' else ''}{start}.",
        "Lower the learning rate, or cut the sequences where the gradient has doubled a few times.",
    ]
    if evidence.kind in {"rnn_tanh", "rnn_relu"}:
        advice.append("Use an LSTM or GRU: their gates keep the way back near the identity.")
    return tuple(advice)

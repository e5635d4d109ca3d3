"""The gradient grows on its way back through time."""

import math

from gradscope.analysis import number
from gradscope.diagnosis.clipped import clips
from gradscope.diagnosis.course_of_loss import loss_fell
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import SEVERITIES, Finding, Severity

_HARMFUL = 100.0
_NOTABLE = 10.0

_MEANING = (
    "The earliest times decide the gradient's size and direction, a small change of a weight changes the loss by a "
    "lot, and one bad batch can throw the weights far off."
)
_LEARNED = (
    "A network that has learned to hold on to what it saw tells early inputs apart ever more sharply, and its gradient "
    "grows with that. Single batches can then have a gradient many times as large as the others."
)
_LITTLE = "So little growth does no harm over this lag; over a longer one the same rate would."
_REFERENCE = "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063"


def find_exploding_gradient(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if the layer's gradient explodes; growth below tenfold over the lag is only worth knowing.

    Growth counts as far as it was measured too: where the gradient first falls, close to the loss, it may be no larger
    at the lag than it began. Growth that came while the loss fell is no error: learning to remember brings it.
    """
    if evidence.verdict.kind == "exploding":
        return _by_rate(evidence)
    if evidence.verdict.kind == "mixed" and evidence.amplification >= _NOTABLE:
        return _by_amplification(evidence)
    return None


def _by_rate(evidence: LayerEvidence) -> Finding | None:
    found, decay = evidence.verdict, evidence.end
    severity = _severity(min(found.growth, found.share_at_lag, key=_nan_last))
    if severity == "info" and found.share_at_lag <= 1 and found.growth < _NOTABLE:
        return None
    at_start = evidence.start_verdict.kind == "exploding"
    learned = severity != "info" and not at_start and loss_fell(evidence.run)
    what = "grows" if severity == "info" else "explodes"
    before = "it did so from the start" if at_start else "it did not at the start"
    all_the_same = " The loss fell all the same." if learned else ""
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
        severity=_milder(severity, "info" if clips(evidence.run) else "warning") if learned else severity,
        layer=evidence.layer,
        message=f"The gradient {what} on its way back through time; {before}. {found.reason}{all_the_same}",
        evidence=numbers,
        advice=_advice(evidence, at_start=at_start),
        meaning=_LITTLE if severity == "info" else _LEARNED if learned else _MEANING,
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
        advice=_advice(evidence, at_start=True),
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


def _nan_last(growth: float) -> float:
    return math.inf if math.isnan(growth) else growth


def _milder(severity: Severity, at_most: Severity) -> Severity:
    return min(severity, at_most, key=SEVERITIES.index)


def _advice(evidence: LayerEvidence, *, at_start: bool) -> tuple[str, ...]:
    start = "the identity scaled below 1" if evidence.kind == "rnn_relu" else "orthogonal"
    advice = []
    if not clips(evidence.run):
        advice.append(
            "Clip the gradient's norm before the optimizer's step: "
            "torch.nn.utils.clip_grad_norm_(model.parameters(), 1)."
        )
    if at_start:
        advice.append(f"Start the recurrent weights {'as ' if evidence.kind == 'rnn_relu' else ''}{start}.")
    advice.append("Lower the learning rate, or cut the sequences where the gradient has doubled a few times.")
    if evidence.kind in {"rnn_tanh", "rnn_relu"}:
        advice.append("Use an LSTM or GRU: their gates keep the way back near the identity.")
    return tuple(advice)

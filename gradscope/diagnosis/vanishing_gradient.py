"""The gradient does not reach as far back as the task has to look."""

import math

from gradscope.analysis import HORIZON_SHARE
from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding
from gradscope.diagnosis.gate_bias import larger_bias
from gradscope.diagnosis.saturation import saturated_from_the_start


def find_vanishing_gradient(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if the layer's gradient vanishes at the end of the run; an error if the task's lag is known."""
    found, decay = evidence.verdict, evidence.end
    only_cut_off = decay.cut_off and not found.growth < HORIZON_SHARE
    if found.kind != "vanishing" or only_cut_off:
        return None
    before = "it did so from the start" if evidence.start_verdict.kind == "vanishing" else "it did not at the start"
    numbers: dict[str, float | int | str] = {
        "rate": decay.rate,
        "rate_low": decay.rate_low,
        "rate_high": decay.rate_high,
        "rate_at_start": evidence.start.rate,
        "half_life": decay.half_life,
        "lag": found.lag,
        "share_at_lag": found.share_at_lag,
        "sequences": decay.sequences,
    }
    if decay.horizon_lag is not None:
        numbers["horizon_lag"] = decay.horizon_lag
    return Finding(
        code="vanishing-gradient",
        severity="warning" if evidence.lag is None else "error",
        layer=evidence.layer,
        message=f"The gradient vanishes on its way back through time; {before}. {found.reason}",
        evidence=numbers,
        advice=_advice(evidence),
        meaning=(
            "What happened that long before the loss leaves next to no trace in the gradient, so the weights cannot "
            "learn from it, however healthy their own gradient looks."
        ),
        reference="Bengio, Simard & Frasconi 1994; Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063",
        iteration=_since(evidence),
    )


def _since(evidence: LayerEvidence) -> int | None:
    if evidence.start_verdict.kind == "vanishing":
        return evidence.first_iteration
    return evidence.began(lambda rates: rates * max(evidence.verdict.lag, 1) < math.log(HORIZON_SHARE))


def _advice(evidence: LayerEvidence) -> tuple[str, ...]:
    advice = [_of_the_cell(evidence)]
    if saturated := saturated_from_the_start(evidence):
        advice.insert(0, f"Scale the inputs to about 1, or start with smaller weights: {saturated}.")
    if evidence.lag is None:
        advice.append(
            "Say how far back the task has to look with watch(metadata={'lag': ...}): here the whole length is assumed."
        )
    if evidence.end.horizon_lag is not None:
        advice.append(f"Sequences cut to about {steps(max(evidence.end.horizon_lag, 1))} teach this layer as much.")
    advice.append(
        "Shorten the way: attention over all outputs, skip connections through time, or a loss at more times."
    )
    return tuple(advice)


def _of_the_cell(evidence: LayerEvidence) -> str:
    if evidence.kind == "lstm":
        bias = larger_bias(evidence.verdict.lag, " of the cell's gradient")
        return (
            f"Start with a larger forget-gate bias: {bias}. Set bias_ih or bias_hh, not both; chrono initialisation "
            "spreads it."
        )
    if evidence.kind == "gru":
        return f"Start with a larger update-gate bias: {larger_bias(evidence.verdict.lag)}."
    if evidence.kind == "rnn_relu":
        return "Start the recurrent weights as the identity, or use an LSTM or GRU with a forget bias of 1 or more."
    return "Use an LSTM or GRU with a forget bias of 1 or more, or start the recurrent weights orthogonal."

"""What the weights learn from does not reach as far back as the task has to look."""

from gradscope.analysis import HORIZON_SHARE, percent
from gradscope.analysis.onset import first_lasting
from gradscope.analysis.weight_horizon import WeightHorizon, horizons_through_training, run_weight_horizon
from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding


def find_short_horizon(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if 99 % of the recurrent weights' gradient is sure to come from fewer times than the lag.

    Only where the task's lag is known and the loss enters once, at the same time of all sequences, since contributions
    are of the whole batch; and nine in ten of the late iterations must agree. The last K times hold what the state of K
    times before the end has brought, so that K may be as small as the lag: the first time, with a state of 0 before
    it, never adds anything. Nor is it a short horizon where the gradient arrives and only the state was small so early.
    """
    if evidence.lag is None or evidence.loss_times > 1 or evidence.ends_differ:
        return None
    found = run_weight_horizon(evidence.run, evidence.layer, evidence.iterations)
    if found is None or found.high >= evidence.lag or evidence.lag >= found.length:
        return None
    if evidence.verdict.share_at_lag >= HORIZON_SHARE:
        return None
    return Finding(
        code="short-horizon",
        severity="warning",
        layer=evidence.layer,
        message=(
            f"All but at most {percent(HORIZON_SHARE)} of the recurrent weights' gradient comes from the last "
            f"{steps(round(found.times))} of {found.length}; the task has to look {evidence.lag} back."
        ),
        evidence={
            "horizon": found.times,
            "horizon_low": found.low,
            "horizon_high": found.high,
            "lag": evidence.lag,
            "length": found.length,
            "iterations": found.iterations,
        },
        advice=_advice(evidence, found),
        meaning=(
            "The recurrent weights are trained as if the sequence began there. A gradient may still arrive further "
            "back; it is too small to change them beside what comes from the last times."
        ),
        reference="Bengio, Simard & Frasconi 1994; Tallec & Ollivier 2017, arXiv:1705.08209",
        iteration=_since(evidence, evidence.lag),
    )


def _since(evidence: LayerEvidence, lag: int) -> int | None:
    course = horizons_through_training(evidence.run, evidence.layer)
    return first_lasting(course["iteration"].tolist(), (course["times"] < lag).to_numpy())


def _advice(evidence: LayerEvidence, found: WeightHorizon) -> tuple[str, ...]:
    longer = {
        "lstm": "Start with a larger forget-gate bias, or chrono initialisation with the task's lag.",
        "gru": "Start with a larger update-gate bias, or chrono initialisation with the task's lag.",
    }.get(evidence.kind, "Use an LSTM or GRU with gates that start open, or orthogonal recurrent weights.")
    return (
        longer,
        "Shorten the way from the loss: attention over all outputs, skip connections, or a loss at more times.",
        f"If {steps(round(found.times))} are enough after all, cut the sequences there: it teaches as much and costs "
        "less.",
    )

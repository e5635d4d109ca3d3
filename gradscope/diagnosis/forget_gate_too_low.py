"""The gate that keeps the state closes so much that the state is gone before the task needs it."""

import numpy as np

from gradscope.analysis import HORIZON_SHARE, number, percent
from gradscope.analysis.gates import KEEPING_GATES, TimeConstant, time_constant
from gradscope.analysis.onset import first_lasting
from gradscope.analysis.wording import steps
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding
from gradscope.diagnosis.gate_bias import bias_that_keeps, larger_bias

_FEW_OPEN = 0.01


def find_forget_gate_too_low(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if the forget gate (GRU: update gate) keeps less than 1 % over the lag, in typical units.

    A few units that stay open are enough to remember, so there must be next to none of them. And the gradient itself
    must vanish: it also has a way around the gate. Where the loss enters at many times that cannot be seen, and the
    gate is judged alone, if the task's lag is known.
    """
    gate = KEEPING_GATES.get(evidence.kind)
    judged = evidence.verdict.kind == "vanishing" or (evidence.verdict.kind == "mixed" and evidence.lag is not None)
    if gate is None or not judged:
        return None
    lag = evidence.verdict.lag
    found = time_constant(evidence.late_gates, gate)
    if found is None or found.kept(lag) >= HORIZON_SHARE or found.open_share >= _FEW_OPEN:
        return None
    numbers: dict[str, float | int | str] = {
        "time_constant": found.times,
        "time_constant_is": found.closeness,
        "gate_mean": found.gate_mean,
        "open_share": found.open_share,
        "lag": lag,
        "kept_at_lag": found.kept(lag),
        "bias_that_keeps_a_tenth": bias_that_keeps(lag),
    }
    before = time_constant(evidence.gates[evidence.gates["iteration"] == evidence.first_iteration], gate)
    if before is not None:
        numbers["time_constant_at_start"] = before.times
    return Finding(
        code="forget-gate-too-low",
        severity="warning",
        layer=evidence.layer,
        message=_message(gate, found, lag),
        evidence=numbers,
        advice=_advice(gate, lag),
        meaning=(
            "The state is overwritten before it is needed, and the gradient along it fades with the same factor. "
            "Recurrent weights can carry something past the gate; the gradient that was measured says they do not."
            if evidence.verdict.kind == "vanishing"
            else "The state is overwritten before it is needed, and the gradient along it fades with the same factor."
        ),
        reference="Gers, Schmidhuber & Cummins 2000; Jozefowicz, Zaremba & Sutskever 2015; Tallec & Ollivier 2018, "
        "arXiv:1804.11188",
        iteration=_since(evidence, gate, lag),
    )


def _message(gate: str, found: TimeConstant, lag: int) -> str:
    bound = "at most " if found.closeness == "at most" else ""
    return (
        f"The {gate} gate is {number(found.gate_mean)} in the mean and above 0.9 in {percent(found.open_share)} of all "
        f"cases: in {bound}{number(found.times)} time steps a typical unit's state is down to 1/e, and over "
        f"{steps(lag)} {bound}{percent(found.kept(lag))} of it is kept."
    )


def _since(evidence: LayerEvidence, gate: str, lag: int) -> int | None:
    # The mean gate alone, as a course: an iteration is low where it would keep less than 1 % over the lag.
    rows = evidence.gates[evidence.gates["gate"] == gate]
    mean = rows.groupby("iteration")["mean"].mean()
    return first_lasting(mean.index.tolist(), np.power(mean.to_numpy(dtype=np.float64), lag) < HORIZON_SHARE)


def _advice(gate: str, lag: int) -> tuple[str, ...]:
    return (
        f"Start with a larger bias of the {gate} gate: {larger_bias(lag)}. Set bias_ih or bias_hh, not both: their sum "
        "acts.",
        f"Chrono initialisation spreads the biases as log U[1, {max(lag, 2)}], so that some units keep long.",
        "If the gate was open at the start and closed in training, lower the learning rate or clip the norm.",
    )

"""The state grows along the sequence, faster than a sum would."""

from gradscope.analysis import number
from gradscope.analysis.onset import first_lasting
from gradscope.analysis.state_growth import state_growth
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_EXPONENT = 2.0
_FACTOR = 4.0
_SUSTAINED = 0.5
_HARMFUL = 100.0


def find_hidden_state_growth(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if the state outgrows the square of time, with its whole interval.

    A running sum grows with time, and sums are what identity initialisation and open forget gates are for; only growth
    that feeds on itself is faster than the square of time and at least fourfold over the second half. It must go on: a
    state that fills up when inputs begin late in the sequence grows fast at first and then slows down.
    """
    found = state_growth(evidence.late, reverse=evidence.reverse)
    if found is None or found.low <= _EXPONENT or found.factor < _FACTOR or found.sustained < _SUSTAINED:
        return None
    return Finding(
        code="hidden-state-growth",
        severity="error" if found.factor >= _HARMFUL else "warning",
        layer=evidence.layer,
        message=(
            f"The {found.quantity} grows {number(found.factor)}-fold over the second half of the sequence, like time "
            f"to the power {found.exponent:.1f} (95 % interval {found.low:.1f} to {found.high:.1f}): faster than any "
            "sum of inputs."
        ),
        evidence={
            "exponent": found.exponent,
            "exponent_low": found.low,
            "exponent_high": found.high,
            "factor": found.factor,
            "quantity": found.quantity,
            "iterations": found.iterations,
        },
        advice=(
            "Start the recurrent weights with a spectral radius of 1 or less: orthogonal, or the identity scaled down.",
            "Use a bounded state: tanh instead of relu, an LSTM or a GRU.",
            "Penalise the change of the state's norm from one time to the next, or normalise the state.",
        ),
        meaning=(
            "The recurrence amplifies itself: longer sequences than those of training will overflow, and the gradient "
            "explodes along the same directions."
        ),
        reference="Krueger & Memisevic 2016, arXiv:1511.08400; Le, Jaitly & Hinton 2015, arXiv:1504.00941",
        iteration=_since(evidence),
    )


def _since(evidence: LayerEvidence) -> int | None:
    iterations, grows = [], []
    for iteration, rows in evidence.timesteps.groupby("iteration", sort=True):
        found = state_growth(rows, reverse=evidence.reverse)
        iterations.append(int(str(iteration)))
        grows.append(found is not None and found.exponent > _EXPONENT)
    return first_lasting(iterations, grows)

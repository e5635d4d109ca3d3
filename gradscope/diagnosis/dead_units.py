"""Relu units that are never on."""

from gradscope.analysis import percent
from gradscope.analysis.dead_units import DeadUnits, run_dead_units
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_SHARE = 0.5
_GROWTH = 0.25
_FEWEST = 50


def find_dead_units(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if half of the relu units are never on, or a quarter of all died in training.

    Looked at in the kept sequences of the last quarter of the recorded iterations; silent without states.
    """
    if evidence.kind != "rnn_relu":
        return None
    end, start = (run_dead_units(evidence.run, evidence.layer, phase) for phase in ("end", "start"))
    if end is None or end.observations < _FEWEST:
        return None
    before = 0.0 if start is None else start.share
    died = end.share - before
    if end.share < _SHARE and (start is None or died < _GROWTH):
        return None
    return Finding(
        code="dead-units",
        severity="error" if end.count == len(end.dead) else "warning",
        layer=evidence.layer,
        message=_message(end, start),
        evidence={
            "dead": end.count,
            "units": len(end.dead),
            "dead_share": end.share,
            "dead_share_at_start": "unknown" if start is None else start.share,
            "observations": end.observations,
        },
        advice=(
            "Lower the learning rate, or clip the norm: one large step pushes biases so low that nothing turns a unit "
            "on again.",
            "Start the biases at 0 or above, and the recurrent weights as the identity.",
            "Use tanh or a leaky relu in a cell of your own, or a GRU.",
        ),
        meaning="A unit that is off passes no gradient, so nothing can bring it back: the layer is that much smaller.",
        reference="Lu et al. 2019, arXiv:1903.06733; Le, Jaitly & Hinton 2015, arXiv:1504.00941",
        iteration=evidence.first_iteration if before >= _SHARE else None,
    )


def _message(end: DeadUnits, start: DeadUnits | None) -> str:
    at_start = "" if start is None else f"; at the start of training {start.count} were"
    return (
        f"{end.count} of {len(end.dead)} units ({percent(end.share)}) were 0 whenever they were looked at, each "
        f"{end.observations:,} times{at_start}."
    )

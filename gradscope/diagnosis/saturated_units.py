"""Units whose tanh is flat."""

import numpy as np

from gradscope.analysis import percent
from gradscope.analysis.clipping import quantiles
from gradscope.analysis.onset import first_lasting
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_SHARE = 0.9
_FREE = 0.5
_WHAT = {"rnn_tanh": "hidden state", "lstm": "tanh of the cell", "gru": "candidate state"}


def find_saturated_units(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if at least 90 % of the units are at the flat ends of their tanh. Relu has `dead-units`."""
    saturation = evidence.timesteps.groupby("iteration")["saturation"].mean().dropna()
    late = saturation[saturation.index.isin(evidence.iterations)].to_numpy(dtype=np.float64)
    if evidence.kind not in _WHAT or not len(late) or late.mean() < _SHARE:
        return None
    spread = quantiles(late)
    return Finding(
        code="saturated-units",
        severity="warning",
        layer=evidence.layer,
        message=f"The {_WHAT[evidence.kind]} is beyond 0.9 in {percent(float(late.mean()))} of all cases.",
        evidence={
            "saturated_share": float(late.mean()),
            "saturated_q10": spread.q10,
            "saturated_q90": spread.q90,
            "saturated_at_start": float(saturation.iloc[0]),
        },
        advice=_advice(free=float(saturation.iloc[0]) < _FREE),
        meaning=(
            "The slope there is below a fifth, so every time step back multiplies most of the gradient by that: it "
            "fades, and the units behave like switches."
        ),
        reference="Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; Glorot & Bengio 2010",
        iteration=first_lasting(saturation.index.tolist(), saturation.to_numpy() >= _SHARE),
    )


def _advice(*, free: bool) -> tuple[str, ...]:
    smaller = "Scale the inputs to about 1 and start with smaller input weights."
    slower = "Lower the learning rate or clip the norm"
    order = (f"{slower}: the units were free at the start.", smaller) if free else (smaller, f"{slower}.")
    return (*order, "Penalise large activations, or normalise them (layer normalisation).")

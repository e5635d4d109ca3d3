"""Gates that are stuck at 0 or 1."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from gradscope.analysis import percent
from gradscope.analysis.clipping import quantiles
from gradscope.analysis.gates import KEEPING_GATES, GateUse, gate_use
from gradscope.analysis.onset import first_lasting
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding

_SHARE = 0.9
_FREE = 0.5


def find_saturated_gates(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if a gate is at one of its ends in at least 90 % of all cases, where that is no memory.

    A gate that keeps the state is meant to stay open, and beside an open forget gate a closed input gate is what chrono
    initialisation sets: neither counts.
    """
    uses = {use.gate: use for use in gate_use(evidence.late_gates)}
    stuck = {name: use for name, use in uses.items() if _counted(name, evidence.kind, uses)(use) >= _SHARE}
    if not stuck:
        return None
    numbers: dict[str, float | int | str] = {}
    for name, use in stuck.items():
        spread = quantiles(_course(evidence.late_gates, name).to_numpy(dtype=np.float64))
        numbers |= {
            f"{name}_closed": use.low,
            f"{name}_open": use.high,
            f"{name}_saturated_q10": spread.q10,
            f"{name}_saturated_q90": spread.q90,
        }
    said = "; ".join(
        f"{name}: {percent(use.low)} below 0.1, {percent(use.high)} above 0.9" for name, use in stuck.items()
    )
    return Finding(
        code="saturated-gates",
        severity="warning",
        layer=evidence.layer,
        message=f"Gates are stuck at their ends, over all units, times and sequences: {said}.",
        evidence=numbers,
        advice=_advice(evidence.gates, stuck),
        meaning=(
            "The slope of a gate there is below a tenth, so it passes next to no gradient on to its weights and to the "
            "state before: it no longer learns when to open, and part of the way back is shut."
        ),
        reference="Karpathy, Johnson & Fei-Fei 2015, arXiv:1506.02078; Gu et al. 2020, arXiv:1910.09890",
        iteration=_since(evidence.gates, stuck),
    )


def _advice(gates: pd.DataFrame, stuck: Mapping[str, GateUse]) -> tuple[str, ...]:
    smaller = "Start with smaller input and recurrent weights, and scale the inputs to about 1."
    slower = "Lower the learning rate or clip the norm"
    first = gates[gates["iteration"] == gates["iteration"].min()]
    free = all(_course(first, name).iloc[0] < _FREE for name in stuck)
    advice = [f"{slower}: they were free at the start.", smaller] if free else [smaller, f"{slower}."]
    if held := [name for name, use in stuck.items() if max(use.low, use.high) >= _SHARE]:
        gates_named = f"{' and '.join(held)} {'gate' if len(held) == 1 else 'gates'}"
        bias = (
            f"Look at the bias of the {gates_named}: what is at one end in nearly all cases is held there by its "
            "bias, or by inputs far from 0 in the mean."
        )
        advice.insert(1 if free else 0, bias)
    return (*advice, "Normalise what goes into the gates (layer normalisation inside the cell).")


class _Counted:
    """Which ends of a gate count."""

    def __init__(self, *, low: bool, high: bool) -> None:
        self._low, self._high = low, high

    def __call__(self, use: GateUse) -> float:
        return self._low * use.low + self._high * use.high


def _counted(gate: str, kind: str, uses: Mapping[str, GateUse]) -> _Counted:
    keeping = KEEPING_GATES.get(kind)
    if gate == keeping:
        return _Counted(low=True, high=False)
    kept = uses.get(keeping) if keeping else None
    remembers = kept is not None and kept.high >= 0.5
    return _Counted(low=not (gate == "input" and remembers), high=True)


def _course(gates: pd.DataFrame, gate: str) -> "pd.Series[float]":
    rows = gates[gates["gate"] == gate]
    return (rows["low"] + rows["high"]).groupby(rows["iteration"]).mean()


def _since(gates: pd.DataFrame, stuck: Mapping[str, GateUse]) -> int | None:
    courses = [_course(gates, name) for name in stuck]
    begun = [first_lasting(course.index.tolist(), course.to_numpy() >= _SHARE) for course in courses]
    return min((iteration for iteration in begun if iteration is not None), default=None)

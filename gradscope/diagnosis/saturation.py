"""How much of what a layer computes lies where its functions are flat."""

import numpy as np
import pandas as pd

from gradscope.analysis import percent
from gradscope.analysis.gates import gate_use
from gradscope.diagnosis.evidence import LayerEvidence

_SHARE = 0.5


def saturated_from_the_start(evidence: LayerEvidence) -> str | None:
    """Return what is saturated in half of all cases or more, in the first recorded iteration and at the end, in words.

    Of a tanh layer the hidden state; of gates the one that is so least: single gates may be at an end on purpose.
    """
    first = evidence.first_iteration
    if evidence.kind == "rnn_tanh":
        start = _units(evidence.timesteps[evidence.timesteps["iteration"] == first])
        end, where = _units(evidence.late), "of the hidden state lies beyond 0.9, where tanh is flat"
    else:
        start = _gates(evidence.gates[evidence.gates["iteration"] == first])
        end, where = _gates(evidence.late_gates), "or more of every gate is below 0.1 or above 0.9, where it is flat"
    return f"{percent(end)} {where}" if start >= _SHARE and end >= _SHARE else None


def _units(timesteps: pd.DataFrame) -> float:
    return float(timesteps["saturation"].mean())


def _gates(gates: pd.DataFrame) -> float:
    return min((use.low + use.high for use in gate_use(gates)), default=np.nan)

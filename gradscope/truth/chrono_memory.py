"""T5: chrono initialisation spreads memories evenly."""

import math

import torch
from torch import nn

from gradscope.cells.initialisations import initialise
from gradscope.cells.step_functions import step_weights
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase

_UNITS, _LONGEST = 4000, 100.0
_KOLMOGOROV_1_PERCENT = 1.628


def _run() -> Outcome:
    torch.manual_seed(5)
    module = nn.LSTM(1, _UNITS, proj_size=1).double()
    initialise(module, "chrono", _LONGEST)
    weights = step_weights(module)
    assert weights.input_bias is not None
    assert weights.recurrent_bias is not None
    biases = (weights.input_bias + weights.recurrent_bias).detach().view(4, _UNITS)
    memories = (1 / (1 - torch.sigmoid(biases[1]))).sort().values
    uniform = (memories - 2) / (_LONGEST - 2)
    steps = torch.arange(_UNITS + 1, dtype=torch.float64) / _UNITS
    distance = float(torch.maximum((steps[1:] - uniform).max(), (uniform - steps[:-1]).max()))
    checks = (
        Check(
            "Kolmogorov-Smirnov distance of the memories from U[2, 100], below the 1 % point",
            0.0,
            distance,
            _KOLMOGOROV_1_PERCENT / math.sqrt(_UNITS),
        ),
        Check("largest sum of a unit's forget and input bias", 0.0, float((biases[0] + biases[1]).abs().max()), 0.0),
        Check("shortest memory, not below 2", 2.0, float(memories[0]), 0.1),
        Check("longest memory, not above 100", 100.0, float(memories[-1]), 0.1),
    )
    shown = list(range(0, _UNITS, 100))
    curve = Curve("4000 units", memories[shown].tolist(), steps[shown].tolist(), uniform[shown].tolist())
    return Outcome(checks, Picture("memory 1 / (1 - sigmoid(b)) [times]", "share of the units below", (curve,)))


CASE = TruthCase(
    "T5",
    "Chrono initialisation",
    "Forget biases log U[1, Tmax - 1] give memories 1 / (1 - sigmoid(b)) that are uniform on [2, Tmax]; the input "
    "biases are their negatives.",
    "Tallec & Ollivier 2018, arXiv:1804.11188; Kolmogorov's distribution for the distance that chance allows.",
    _run,
)

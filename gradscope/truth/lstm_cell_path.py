"""T4: how long the cell of an LSTM remembers by its forget bias alone."""

import math

import torch
from torch import nn

from gradscope.cells.initialisations import initialise
from gradscope.dynamics import total_gradient
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase, within

_HALF_LIVES = {0.0: 1.0000, 1.0: 2.2127, 2.0: 5.4609, 3.0: 14.266, 5.0: 103.218}
_TIME = 40


def _run() -> Outcome:
    norms = {bias: _gradient(_with_forget_bias(bias)) for bias in _HALF_LIVES}
    checks = [
        within(f"half-life at b = {bias:g}", expected, _half_life(norms[bias]), relative=3e-5)
        for bias, expected in _HALF_LIVES.items()
    ]
    halves = nn.LSTM(1, 4).double()
    _zero(halves)
    for name, parameter in halves.named_parameters():
        if name.startswith("bias"):
            nn.init.constant_(parameter[4:8], 0.5)
    checks.append(
        Check("half-life with half of b = 1 in each bias vector", _HALF_LIVES[1.0], _half_life(_gradient(halves)), 5e-5)
    )
    lags = list(range(_TIME))
    curves = tuple(
        Curve(f"b = {bias:g}", lags, norm[::-1], [0.5 ** (lag / _HALF_LIVES[bias]) for lag in lags])
        for bias, norm in norms.items()
    )
    return Outcome(tuple(checks), Picture("lag", "gradient left in the cell", curves, log_y=True))


def _zero(module: nn.LSTM) -> None:
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.zero_()


def _with_forget_bias(bias: float) -> nn.LSTM:
    module = nn.LSTM(1, 4).double()
    _zero(module)
    initialise(module, "forget-bias", bias)
    return module


def _gradient(module: nn.LSTM) -> list[float]:
    """Return dL/dc_t of every time for L = c_T of one unit."""
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    inputs = torch.zeros(_TIME, 1, 1, dtype=torch.float64)
    total = total_gradient(module, inputs, (zeros, zeros), lambda states: states[1][-1, 0, 0])
    return [float(value) for value in total[:, 0, 4]]


def _half_life(gradients: list[float]) -> float:
    rate = (math.log(gradients[-1]) - math.log(gradients[0])) / (len(gradients) - 1)
    return math.log(2) / abs(rate)


CASE = TruthCase(
    "T4",
    "The memory of an LSTM's cell",
    "With recurrent weights of zero the cell keeps sigmoid(b_f) a time. The two bias vectors of PyTorch add up: the "
    "forget bias counts once.",
    "Half-life ln 2 / -log sigmoid(b_f), worked out to five digits; Jozefowicz, Zaremba & Sutskever 2015.",
    _run,
)

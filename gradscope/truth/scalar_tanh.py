"""T2: the map x -> tanh(g x)."""

import math

import torch
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics import lyapunov_exponents
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase
from gradscope.truth.free_running import no_input

_KNOWN = {0.5: -0.693147, 0.9: -0.105361, 1.1: -0.196312, 1.5: -0.930610, 2.0: -1.793529, 3.0: -3.489608}


def _run() -> Outcome:
    got = _exponents(torch.tensor(list(_KNOWN), dtype=torch.float64))
    checks = [
        Check(f"exponent at g = {gain:g}", expected, value, 1e-6)
        for (gain, expected), value in zip(_KNOWN.items(), got, strict=True)
    ]
    gains = [0.3 + 0.05 * place for place in range(59)]
    curve = Curve("at the fixed point", gains, [_closed_form(gain) for gain in gains])
    points = Curve("x -> tanh(g x)", list(_KNOWN), got, list(_KNOWN.values()))
    return Outcome(tuple(checks), Picture("gain g", "Lyapunov exponent [nats per time]", (curve, points)))


def _closed_form(gain: float) -> float:
    """Return log g(1 - x*^2), the fixed point x* found by bisection."""
    low, high = 1e-9, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if math.tanh(gain * middle) > middle else (low, middle)
    return math.log(gain * (1 - low**2))


def _exponents(gains: Tensor) -> list[float]:
    def step(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return torch.tanh(gains[:, None] * state)

    start = torch.ones(len(gains), 1, dtype=torch.float64)
    result = lyapunov_exponents(step, no_input(2100, len(gains)), start, burn_in=2000)
    return [float(value) for value in result.per_sequence[:, 0]]


CASE = TruthCase(
    "T2",
    "One tanh unit",
    "At the fixed point x* = tanh(g x*) the exponent is log g(1 - x*^2). It is negative on both sides of g = 1: a "
    "recurrent weight above 1 does not make a saturating unit explode.",
    "Fixed point of the map, solved to 12 digits.",
    _run,
)

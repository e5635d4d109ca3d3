"""T13: maps and flows whose exponents are published."""

import math

import torch
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics import LyapunovExponents, lyapunov_exponents
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase
from gradscope.truth.free_running import no_input

_HENON, _LORENZ = (0.41922, -1.62319), (0.9056, 0.0, -14.5723)
_SECONDS = 0.01
"""Of one step of Runge and Kutta."""


def _run() -> Outcome:
    henon, logistic, lorenz = _henon(), _logistic(), _lorenz()
    flow = lorenz.exponents / _SECONDS
    checks = [
        *(
            Check(f"Henon, exponent {i + 1}", known, float(got), 1e-3)
            for i, (known, got) in enumerate(zip(_HENON, henon.exponents, strict=True))
        ),
        Check("Henon, sum of the exponents, ln 0.3", math.log(0.3), float(henon.exponents.sum()), 1e-10),
        Check("Henon, Kaplan-Yorke dimension", 1.25827, henon.kaplan_yorke_dimension, 1e-3),
        Check("logistic map, ln 2", math.log(2), float(logistic.exponents[0]), 1e-3),
        *(
            Check(f"Lorenz, exponent {i + 1} per unit of time", known, float(got), 0.01)
            for i, (known, got) in enumerate(zip(_LORENZ, flow, strict=True))
        ),
    ]
    curves = (
        Curve("Henon", [1, 2], henon.exponents.tolist(), list(_HENON)),
        Curve("logistic", [1], logistic.exponents.tolist(), [math.log(2)]),
        Curve("Lorenz", [1, 2, 3], flow.tolist(), list(_LORENZ)),
    )
    return Outcome(tuple(checks), Picture("exponent, by size", "Lyapunov exponent [nats per time]", curves))


def _henon() -> LyapunovExponents:
    def step(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        x, y = state.unbind(-1)
        return torch.stack([1 - 1.4 * x**2 + y, 0.3 * x], dim=-1)

    generator = torch.Generator().manual_seed(13)
    start = 0.1 * torch.rand(2000, 2, generator=generator, dtype=torch.float64)
    return lyapunov_exponents(step, no_input(700, 2000), start, burn_in=100, tangent_burn_in=50)


def _logistic() -> LyapunovExponents:
    def step(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return 4 * state * (1 - state)

    generator = torch.Generator().manual_seed(13)
    start = torch.rand(2000, 1, generator=generator, dtype=torch.float64)
    return lyapunov_exponents(step, no_input(600, 2000), start, burn_in=100)


def _lorenz() -> LyapunovExponents:
    def velocity(state: Tensor) -> Tensor:
        x, y, z = state.unbind(-1)
        return torch.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], dim=-1)

    def step(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        first = velocity(state)
        second = velocity(state + _SECONDS / 2 * first)
        third = velocity(state + _SECONDS / 2 * second)
        fourth = velocity(state + _SECONDS * third)
        return state + _SECONDS / 6 * (first + 2 * second + 2 * third + fourth)

    generator = torch.Generator().manual_seed(13)
    start = torch.randn(200, 3, generator=generator, dtype=torch.float64) + torch.tensor([0.0, 0.0, 25.0])
    return lyapunov_exponents(step, no_input(3500, 200), start, burn_in=1000, tangent_burn_in=200)


CASE = TruthCase(
    "T13",
    "Strange attractors",
    "The Henon map (1.4, 0.3), the logistic map at 4 and the Lorenz equations (10, 28, 8/3): every exponent, and the "
    "dimension of Kaplan and Yorke.",
    "Sprott 2003, Chaos and Time-Series Analysis; determinant of the Henon map; Ulam & von Neumann for the logistic.",
    _run,
)

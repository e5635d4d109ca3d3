"""T17: the wall in the error surface of one sigmoid unit run 50 times."""

import math

import torch
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics import total_gradient
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase, within
from gradscope.truth.free_running import no_input

_TIME, _START, _TARGET = 50, 0.5, 0.7
_STEEP = 8.0


def _run() -> Outcome:
    checks = [
        within(f"linear, dx_t/dw at w = {w:g}", _TIME * _START * w ** (_TIME - 1), _linear(w), relative=1e-12)
        for w in (0.8, 1.0, 1.1)
    ]
    edge, slope = _wall(_STEEP)
    at_wall = float(_slopes(_STEEP, torch.tensor([edge], dtype=torch.float64)))
    biases = torch.linspace(edge - 1, edge + 1, 2001, dtype=torch.float64)
    slopes = _slopes(_STEEP, biases)
    sizes = slopes.abs()
    wall = float(biases[sizes.argmax()])
    steep = float((sizes > abs(slope) / 1e6).double().mean())
    checks += [
        within(f"slope dE/db at the wall of w = {_STEEP:g}", slope, at_wall, relative=1e-9),
        Check("place of the steepest of 2001 biases around it", edge, wall, 1e-3),
        Check("share of these with more than a millionth of the wall's slope", 0.0, steep, 0.01),
    ]
    curve = Curve("|dE/db|", biases[::10].tolist(), sizes[::10].clamp_min(1e-30).tolist())
    return Outcome(tuple(checks), Picture("bias b", "slope of the error after 50 times", (curve,), log_y=True))


def _linear(w: float) -> float:
    """Return dx_T/dw of x <- w x, the sum over the times of a_t x_{t-1}."""

    def step(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return w * state

    def last(states: State) -> Tensor:
        assert isinstance(states, Tensor)
        return states[-1].sum()

    start = torch.full((1, 1), _START, dtype=torch.float64)
    total = total_gradient(step, no_input(_TIME, 1), start, last)[:, 0, 0]
    before = _START * w ** torch.arange(_TIME, dtype=torch.float64)
    return float((total * before).sum())


def _slopes(w: float, biases: Tensor) -> Tensor:
    """Return dE/db for each bias, the sum of the total gradients over the times; E = (sigmoid(x_50) - 0.7)^2."""

    def step(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return w * torch.sigmoid(state) + biases[:, None]

    def error(states: State) -> Tensor:
        assert isinstance(states, Tensor)
        return (torch.sigmoid(states[-1]) - _TARGET).square().sum()

    start = torch.full((len(biases), 1), _START, dtype=torch.float64)
    return total_gradient(step, no_input(_TIME, len(biases)), start, error)[:, :, 0].sum(0)


def _wall(w: float) -> tuple[float, float]:
    """Return the bias at which the start is the unstable fixed point between two stable ones, and dE/db there.

    At a fixed point x = w sigmoid(x) + b each time multiplies the gradient by mu = w sigmoid'(x), so that
    dx_T/db = (mu^T - 1) / (mu - 1).
    """
    share = 1 / (1 + math.exp(-_START))
    mu = w * share * (1 - share)
    growth = (mu**_TIME - 1) / (mu - 1)
    return _START - w * share, 2 * (share - _TARGET) * share * (1 - share) * growth


CASE = TruthCase(
    "T17",
    "A wall in the error surface",
    "x <- w sigmoid(x) + b, 50 times: linear and without bias dx_t/dw = t x_0 w^(t-1); with the sigmoid the error "
    "has a wall, where the start lies on the border between two basins and the gradient is orders of magnitude "
    "steeper.",
    "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, figure 6; the fixed point's multiplier for the wall.",
    _run,
)

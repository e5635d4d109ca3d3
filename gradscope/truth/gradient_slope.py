"""T11: the backpropagated gradient grows at the rate of the largest Lyapunov exponent."""

import math

import torch
from torch import Tensor, nn

from gradscope.cells.step_functions import step_weights
from gradscope.dynamics import lyapunov_exponents, norm_per_sequence, total_gradient
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase

_TIME, _BURN_IN = 1000, 100


def _run() -> Outcome:
    torch.manual_seed(11)
    checks, curves = [], []
    for name, module in {"tanh network, g = 2": _chaotic(), "GRU": nn.GRU(1, 16).double()}.items():
        norms = _gradient_norms(module)
        slope, intercept = _line(norms)
        exponent = _largest_exponent(module)
        checks.append(Check(f"slope of log |a| against lag, {name}", exponent, slope, 0.01))
        lags = list(range(0, len(norms), 10))
        line = [math.exp(intercept + exponent * lag) for lag in lags]
        curves.append(Curve(name, lags, [norms[lag] for lag in lags], line))
    return Outcome(tuple(checks), Picture("lag", "norm of the total gradient", tuple(curves), log_y=True))


def _chaotic() -> nn.RNN:
    module = nn.RNN(1, 100, bias=False).double()
    nn.init.normal_(step_weights(module).recurrent, 0, 2 / math.sqrt(100))
    return module


def _drive(module: nn.RNNBase) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(11)
    inputs = 0.1 * torch.randn(_TIME + _BURN_IN, 1, 1, generator=generator, dtype=torch.float64)
    return inputs, torch.zeros(1, module.hidden_size, dtype=torch.float64)


def _gradient_norms(module: nn.RNNBase) -> list[float]:
    """Return |a| by lag, of a loss at the last time; the state's burn-in is left out."""
    inputs, state = _drive(module)

    def last(states: Tensor | tuple[Tensor, ...]) -> Tensor:
        assert isinstance(states, Tensor)
        return states[-1].sum()

    total = total_gradient(module, inputs, state, last)
    return [float(norm) for norm in norm_per_sequence(total[_BURN_IN:, 0]).flip(0)]


def _largest_exponent(module: nn.RNNBase) -> float:
    inputs, state = _drive(module)
    return float(lyapunov_exponents(module, inputs, state, k=1, burn_in=_BURN_IN).exponents[0])


def _line(norms: list[float]) -> tuple[float, float]:
    """Return slope and intercept of the least-squares line through log norm against lag, the first 50 lags left out."""
    lags = torch.arange(50, len(norms), dtype=torch.float64)
    logs = torch.tensor(norms[50:], dtype=torch.float64).log()
    slope = float(((lags - lags.mean()) * (logs - logs.mean())).sum() / (lags - lags.mean()).square().sum())
    return slope, float(logs.mean()) - slope * float(lags.mean())


CASE = TruthCase(
    "T11",
    "The gradient's slope",
    "Against lag, the logarithm of the total gradient's norm has the slope of the same network's largest exponent: "
    "forward and backward products have the same growth.",
    "Oseledets' theorem. Expected is the network's own exponent, from tangent vectors that go forward: another way, "
    "not another program.",
    _run,
)

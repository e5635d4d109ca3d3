"""T14: how wrong a truncated gradient is."""

import torch
from torch import Tensor, nn

from gradscope.cells.step_functions import State, step_weights
from gradscope.dynamics import gradient_horizon, preactivation_gradients, total_gradient, weight_gradient_gram
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase

_FACTOR, _TIME = 0.9, 400
_CONTINUES = 0.95
"""Probability that a randomly truncated sweep goes one time further back."""


def _run() -> Outcome:
    parts, gram = _contributions()
    whole = float(parts.sum())
    lengths = list(range(1, 101))
    biases = [1 - float(parts[_TIME - length :].sum()) / whole for length in lengths]
    known = [_FACTOR**length for length in lengths]
    checks = (
        *(
            Check(f"relative bias after {length} times, {_FACTOR}^{length}", _FACTOR**length, biases[length - 1], 1e-12)
            for length in (1, 10, 50, 100)
        ),
        # 0.9^43 = 0.0108, 0.9^44 = 0.0097.
        Check("horizon: times that give 99 % of the gradient", 44.0, float(gradient_horizon(gram)), 0.0),
        Check("mean of the randomly truncated gradient, weighted, to the full one", 1.0, _random(parts) / whole, 1e-9),
        Check("the same without the weights", _without_weights(), _random(parts, weighted=False) / whole, 1e-9),
    )
    curve = Curve(f"h = {_FACTOR} h + 1", lengths, biases, known)
    return Outcome(checks, Picture("truncation length", "relative bias of the gradient", (curve,), log_y=True))


def _contributions() -> tuple[Tensor, Tensor]:
    """Return each time's dh_T / dW_hh and the products of all pairs, of a relu unit at its fixed point."""
    module = nn.RNN(1, 1, nonlinearity="relu", bias=False).double()
    weights = step_weights(module)
    nn.init.constant_(weights.recurrent, _FACTOR)
    nn.init.constant_(weights.input, 1.0)
    inputs = torch.ones(_TIME, 1, 1, dtype=torch.float64)
    at_rest = torch.full((1, 1), 1 / (1 - _FACTOR), dtype=torch.float64)

    def last(states: State) -> Tensor:
        assert isinstance(states, Tensor)
        return states[-1].sum()

    before = at_rest.expand(_TIME, 1, 1)
    delta = preactivation_gradients(module, inputs, before, total_gradient(module, inputs, at_rest, last))
    return (delta * before)[:, 0, 0], weight_gradient_gram(delta, before)


def _random(parts: Tensor, *, weighted: bool = True) -> float:
    """Return the mean over all lengths K of a sweep that goes on with a fixed probability.

    Weighted, what comes from lag l counts 1 / P(K > l) times: in the mean each lag then counts once.
    """
    from_the_end = parts.flip(0)
    reached = _CONTINUES ** torch.arange(len(parts), dtype=torch.float64)
    ends = reached * (1 - _CONTINUES)
    ends[-1] = reached[-1]
    summed = (from_the_end / reached if weighted else from_the_end).cumsum(0)
    return float((ends * summed).sum())


def _without_weights() -> float:
    """Return sum of (q f)^l over sum of f^l, geometric series of almost infinite length."""
    return (1 - _FACTOR) / (1 - _CONTINUES * _FACTOR)


CASE = TruthCase(
    "T14",
    "Truncated backpropagation",
    "Of h_t = f h_{t-1} + x, K times back leave a relative bias of f^K. A sweep that ends at a random time is unbiased "
    "if each lag is divided by the probability of being reached, and biased if not.",
    "Geometric series; Tallec & Ollivier 2017, arXiv:1705.08209, for the random ends.",
    _run,
)

"""T9: the exponents of any network add up to how fast volumes grow."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from gradscope.dynamics import lyapunov_exponents
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase

_TIME, _UNITS = 40, 6
_CELLS: dict[str, Callable[[int, int], nn.RNNCellBase]] = {
    "tanh": nn.RNNCell,
    "GRU": nn.GRUCell,
    "LSTM": nn.LSTMCell,
}


def _run() -> Outcome:
    torch.manual_seed(9)
    inputs = torch.randn(_TIME, 1, 3, dtype=torch.float64)
    checks, curves = [], []
    for name, make in _CELLS.items():
        cell = make(3, _UNITS).double()
        zeros = torch.zeros(1, _UNITS, dtype=torch.float64)
        result = lyapunov_exponents(cell, inputs, (zeros, zeros) if name == "LSTM" else zeros)
        expected = _mean_log_determinant(cell, inputs)
        checks.append(Check(f"sum of the exponents, {name}", expected, float(result.exponents.sum()), 1e-9))
        curves.append(Curve(name, list(range(1, len(result.exponents) + 1)), result.exponents.tolist()))
    return Outcome(tuple(checks), Picture("exponent, by size", "Lyapunov exponent [nats per time]", tuple(curves)))


def _mean_log_determinant(cell: nn.RNNCellBase, inputs: Tensor) -> float:
    """Return the mean of log |det J_t|, each J_t by torch's own cell and torch.autograd.functional.jacobian."""
    lstm = isinstance(cell, nn.LSTMCell)
    state, total = torch.zeros(_UNITS * (1 + lstm), dtype=torch.float64), 0.0
    for x in inputs[:, 0]:

        def after(z: Tensor, x: Tensor = x) -> Tensor:
            following = cell(x, tuple(z.chunk(2)) if lstm else z)
            return torch.cat(following) if lstm else following

        jacobian = torch.autograd.functional.jacobian(after, state)  # type: ignore[no-untyped-call] # torch's own
        assert isinstance(jacobian, Tensor)
        total += float(torch.linalg.slogdet(jacobian).logabsdet)
        state = after(state).detach()
    return total / len(inputs)


CASE = TruthCase(
    "T9",
    "Volumes",
    "Over the full state, the sum of all exponents is the mean of log |det J|, whatever the network; over h alone an "
    "LSTM would fail this.",
    "Determinants multiply.",
    _run,
)

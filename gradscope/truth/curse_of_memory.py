"""T15: the longer the memory, the more sensitive the state to the weights."""

import torch
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics import total_gradient
from gradscope.truth.case import Curve, Outcome, Picture, TruthCase, within

_KNOWN = {0.9: (5.263, 263.887), 0.99: (50.25, 251263.0)}


def _run() -> Outcome:
    factors = [0.5, 0.8, 0.9, 0.95, 0.98, 0.99]
    got = {factor: _second_moments(factor) for factor in factors}
    checks = [
        within(f"{what} at lambda = {factor:g}", known[part], got[factor][part], relative=8e-5)
        for factor, known in _KNOWN.items()
        for part, what in enumerate(("E h^2", "E (dh/dlambda)^2"))
    ]
    lengths = [1 / (1 - factor) for factor in factors]
    curves = (
        Curve("E h^2", lengths, [got[f][0] for f in factors], [1 / (1 - f**2) for f in factors]),
        Curve(
            "E (dh/dlambda)^2",
            lengths,
            [got[f][1] for f in factors],
            [(1 + f**2) / (1 - f**2) ** 3 for f in factors],
        ),
    )
    return Outcome(tuple(checks), Picture("memory 1 / (1 - lambda) [times]", "second moment", curves, log_y=True))


def _second_moments(factor: float) -> tuple[float, float]:
    """Return E h^2 and E (dh/dlambda)^2 under white input of variance 1.

    h and s = dh/dlambda follow h <- lambda h + x, s <- lambda s + h. Both are sums of the inputs, each times its total
    gradient: with white inputs, the second moment is the sum of the squares of these gradients.
    """
    time = round(40 / (1 - factor))

    def step(x: Tensor, state: State) -> State:
        assert not isinstance(state, Tensor)
        h, s = state
        return factor * h + x, factor * s + h

    zeros = torch.zeros(2, 1, dtype=torch.float64)
    # Two sequences: the gradient of the last h in the first, of the last s in the second.
    direct = torch.zeros(time, 2, 2, dtype=torch.float64)
    direct[-1] = torch.eye(2, dtype=torch.float64)
    total = total_gradient(step, torch.zeros(time, 2, 1, dtype=torch.float64), (zeros, zeros), direct)
    of_h, of_s = total[:, :, 0].square().sum(0)
    return float(of_h), float(of_s)


CASE = TruthCase(
    "T15",
    "The curse of memory",
    "Of h_t = lambda h_{t-1} + x_t under white input, E h^2 = 1 / (1 - lambda^2), and the sensitivity grows much "
    "faster: E (dh/dlambda)^2 = (1 + lambda^2) / (1 - lambda^2)^3. No gradient "
    "explodes, yet the loss becomes hard to descend.",
    "Zucchet & Orvieto 2024, arXiv:2405.21064.",
    _run,
)

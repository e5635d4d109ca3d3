"""T6: networks whose units do not mix."""

import torch
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics import lyapunov_exponents
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase
from gradscope.truth.free_running import no_input

_UNITS, _TIME, _BURN_IN = 6, 1300, 1000


def _run() -> Outcome:
    generator = torch.Generator().manual_seed(6)
    gate = torch.randn(_UNITS, 3, generator=generator, dtype=torch.float64)
    bias = torch.linspace(-3, 2, _UNITS, dtype=torch.float64)
    candidate = torch.randn(_UNITS, 3, generator=generator, dtype=torch.float64)
    inputs = torch.randn(_TIME, 1, 3, generator=generator, dtype=torch.float64)

    def min_gru(x: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        z = torch.sigmoid(x @ gate.T + bias)
        return (1 - z) * state + z * (x @ candidate.T)

    start = torch.zeros(1, _UNITS, dtype=torch.float64)
    gated = lyapunov_exponents(min_gru, inputs, start, tangent_burn_in=_BURN_IN).per_sequence[0]
    # log(1 - sigmoid(u)) = -log(1 + e^u)
    averaged = inputs[_BURN_IN:, 0]
    gated_truth = (-torch.log1p((averaged @ gate.T + bias).exp())).mean(0).sort(descending=True).values

    factors = torch.tensor([-1.1, 0.99, -0.7, 0.5, 0.3, -0.1], dtype=torch.float64)

    def diagonal(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return factors * state

    linear = lyapunov_exponents(diagonal, no_input(_TIME, 1), start, tangent_burn_in=_BURN_IN).per_sequence[0]
    linear_truth = factors.abs().log()
    order = list(range(1, _UNITS + 1))
    checks = (
        Check("minGRU: sum of all exponents", float(gated_truth.sum()), float(gated.sum()), 1e-10),
        Check("minGRU: largest error of an exponent", 0.0, float((gated - gated_truth).abs().max()), 1e-9),
        Check("diagonal: sum of all exponents", float(linear_truth.sum()), float(linear.sum()), 1e-10),
        Check("diagonal: largest error of an exponent", 0.0, float((linear - linear_truth).abs().max()), 1e-9),
    )
    curves = (
        Curve("minGRU", order, gated.tolist(), gated_truth.tolist()),
        Curve("diagonal linear", order, linear.tolist(), linear_truth.tolist()),
    )
    return Outcome(checks, Picture("exponent, by size", "Lyapunov exponent [nats per time]", curves))


CASE = TruthCase(
    "T6",
    "Units that do not mix",
    "Of a minGRU, h_t = (1 - z_t) h_{t-1} + z_t g_t with z_t of the input alone, the exponents are the means of "
    "log(1 - z_t), unit by unit; of a diagonal linear network the logarithms of the moduli.",
    "The Jacobian is diagonal; Feng et al. 2024, arXiv:2410.01201.",
    _run,
)

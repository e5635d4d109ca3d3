"""T3: a matrix of spectral radius below 1 that grows by 27 orders of magnitude."""

import torch
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics import jacobian_products, jacobians_through_time, singular_values, spectral_radius
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase, within
from gradscope.truth.free_running import no_input

_SIZE = 30


def _run() -> Outcome:
    weight = 0.9 * torch.eye(_SIZE, dtype=torch.float64) + torch.diag(torch.ones(_SIZE - 1, dtype=torch.float64), 1)

    def step(_: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return state @ weight.T

    jacobians = jacobians_through_time(step, no_input(400, 1), torch.zeros(1, _SIZE, dtype=torch.float64))
    products = jacobian_products(jacobians)
    norms = singular_values(products.matrices)[:, 0, 0] * products.log_scale[:, 0].exp()
    lags = list(range(1, 401))
    got = norms.flip(0).tolist()
    checks = (
        Check("spectral radius", 0.9, float(spectral_radius(jacobians[0, 0])), 1e-12),
        within("2-norm of A^50", 4.61e13, got[49], relative=1.1e-3),
        within("2-norm of A^400", 1.22e27, got[399], relative=4.1e-3),
    )
    curves = (
        Curve("2-norm of the product", lags, got),
        Curve("what the spectral radius says, 0.9^k", lags, [0.9**lag for lag in lags]),
    )
    return Outcome(checks, Picture("times k", "growth", curves, log_y=True))


CASE = TruthCase(
    "T3",
    "Growth that the spectral radius hides",
    "0.9 I plus ones above the diagonal, 30 units: the spectral radius is 0.9, yet the 2-norm of its powers rises to "
    "10^27 before it falls. A verdict from the spectral radius alone is wrong.",
    "Powers of a Jordan block; Trefethen & Embree 2005, Spectra and Pseudospectra. Norms to three digits.",
    _run,
)

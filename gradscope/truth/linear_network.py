"""T1: a linear recurrent network."""

import math

import torch
from torch import Tensor

from gradscope.cells.step_functions import BoundStep, State
from gradscope.dynamics import lyapunov_exponents, total_gradient
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase

_MODULI = (1.2, 1.0, 0.8, 0.6, 0.4, 0.2)


def _step(weight: Tensor) -> BoundStep:
    def step(x: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return state @ weight.T + x

    return step


def _run() -> Outcome:
    generator = torch.Generator().manual_seed(1)
    basis = torch.randn(6, 6, generator=generator, dtype=torch.float64)
    signs = torch.tensor([1, 1, -1, 1, -1, 1], dtype=torch.float64)
    weight = basis @ torch.diag(signs * torch.tensor(_MODULI, dtype=torch.float64)) @ torch.linalg.inv(basis)
    gradient_check, picture = _gradients(weight)
    exponents = _exponents(weight, 1500, 500)
    known = [
        Check(f"exponent of the eigenvalue of modulus {modulus}", math.log(modulus), float(got), 1e-9)
        for modulus, got in zip(_MODULI, exponents, strict=True)
    ]
    return Outcome((gradient_check, *known, _complex_pairs(generator), _orthogonal(generator)), picture)


def _gradients(weight: Tensor) -> tuple[Check, Picture]:
    # (W^T)^(T-k) a_T by repeated multiplication in float64.
    time = 60
    last = torch.arange(1, 7, dtype=torch.float64)
    direct = torch.zeros(time, 1, 6, dtype=torch.float64)
    direct[-1, 0] = last
    inputs = torch.ones(time, 1, 1, dtype=torch.float64)
    got = total_gradient(_step(weight), inputs, torch.zeros(1, 6).double(), direct)[:, 0]
    expected = torch.stack([torch.linalg.matrix_power(weight.T, time - 1 - k) @ last for k in range(time)])
    error = float(((got - expected).norm(dim=1) / expected.norm(dim=1)).max())
    lags = list(range(time))
    curve = Curve("6 units", lags, got.norm(dim=1).flip(0).tolist(), expected.norm(dim=1).flip(0).tolist())
    check = Check(f"largest relative error of a_k over {time} times", 0.0, error, 1e-12)
    return check, Picture("lag", "norm of the total gradient", (curve,), log_y=True)


def _complex_pairs(generator: torch.Generator) -> Check:
    # The complex pairs of a random matrix turn for ever: the mean needs long.
    weight = torch.randn(5, 5, generator=generator, dtype=torch.float64) / 5**0.5
    expected = torch.linalg.eigvals(weight).abs().log().sort(descending=True).values
    error = float((_exponents(weight, 4500, 500) - expected).abs().max())
    return Check("largest error of an exponent of a random matrix, against its eigenvalues", 0.0, error, 2e-3)


def _orthogonal(generator: torch.Generator) -> Check:
    weight = torch.linalg.qr(torch.randn(8, 8, generator=generator, dtype=torch.float64)).Q
    largest = float(_exponents(weight, 200, 0).abs().max())
    return Check("largest modulus of an exponent of an orthogonal matrix", 0.0, largest, 1e-12)


def _exponents(weight: Tensor, time: int, tangent_burn_in: int) -> Tensor:
    inputs = torch.zeros(time, 1, 1, dtype=torch.float64)
    start = torch.ones(1, len(weight), dtype=torch.float64)
    return lyapunov_exponents(_step(weight), inputs, start, tangent_burn_in=tangent_burn_in).exponents


CASE = TruthCase(
    "T1",
    "A linear network",
    "The gradient of h_t = W h_{t-1} + x_t is multiplied by W^T a time, and its exponents are the logarithms of the "
    "moduli of W's eigenvalues; of an orthogonal W all are 0.",
    "Linear algebra: a_k = (W^T)^(T-k) a_T.",
    _run,
)

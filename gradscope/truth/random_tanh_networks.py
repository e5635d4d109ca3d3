"""Large random tanh networks h_t = tanh(W h_{t-1} + s xi_t) with W_ij from N(0, g^2 / N)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics import LyapunovExponents, lyapunov_exponents


def mean_field_exponent(gain: float, input_std: float = 0.0) -> float:
    """Return the largest exponent of such a network with infinitely many units.

    The variance q of a pre-activation is the fixed point of q = g^2 E tanh^2(sqrt(q) x) + s^2, x from N(0, 1), and the
    exponent is log(g^2 E (1 - tanh^2(sqrt(q) x))^2) / 2; the means by the trapezoidal rule.

    Source: Sompolinsky, Crisanti & Sommers 1988; in discrete time Molgedey, Schuchhardt & Schuster 1992.
    """
    x = torch.linspace(-9, 9, 4001, dtype=torch.float64)
    density = torch.exp(-(x**2) / 2)
    density = density / density.sum()
    variance = 1.0
    for _ in range(5000):
        before = variance
        variance = gain**2 * float((density * torch.tanh(math.sqrt(variance) * x) ** 2).sum()) + input_std**2
        if math.isclose(variance, before, rel_tol=1e-14):
            break
    slope = 1 - torch.tanh(math.sqrt(variance) * x) ** 2
    return 0.5 * math.log(gain**2 * float((density * slope**2).sum()))


def largest_exponents(
    gains: Float[Tensor, " networks"], input_stds: Float[Tensor, " networks"], size: int, time: int, seed: int
) -> LyapunovExponents:
    """Return the largest exponent of one random network for each gain; they run side by side as a batch."""
    generator = torch.Generator().manual_seed(seed)
    count = len(gains)
    weights = torch.randn(count, size, size, generator=generator, dtype=torch.float64) / math.sqrt(size)
    weights *= gains[:, None, None]
    start = torch.randn(count, size, generator=generator, dtype=torch.float64)
    inputs = torch.randn(time, count, size, generator=generator, dtype=torch.float64) * input_stds[:, None]

    def step(x: Tensor, state: State) -> State:
        assert isinstance(state, Tensor)
        return torch.tanh(torch.einsum("nij,nj->ni", weights, state) + x)

    return lyapunov_exponents(step, inputs, start, k=1, burn_in=100, tangent_burn_in=50)

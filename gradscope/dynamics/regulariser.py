"""Omega, which pushes the gradient through time of a plain recurrence to keep its length.

Omega = mean over times and sequences of (|J_t^T a_t| / |a_t| - 1)^2, with a_t = dL/dh_t and J_t = dh_t/dh_{t-1}.

Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, equations 9 and 10. Only what W_hh does to J_t directly is
differentiated: the states and a_t count as given, as there. Where the paper sums over the times this is their mean, so
that a strength means the same for long and for short sequences. Where a_t is 0, or so small that its squares underflow,
a term counts as 0: it would be made of rounding.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.elman import Nonlinearity, activation_derivative
from gradscope.dynamics.adjoint import elman_adjoint


class Omega(NamedTuple):
    """Omega, and its gradient with respect to W_hh."""

    value: Float[Tensor, ""]
    gradient: Float[Tensor, "hidden hidden"]


def omega(
    hidden: Float[Tensor, "time batch hidden"],
    direct: Float[Tensor, "time batch hidden"],
    recurrent: Float[Tensor, "hidden hidden"],
    nonlinearity: Nonlinearity,
) -> Omega:
    """Return Omega of a plain recurrence, over all steps between two of its times; 0 where there is none.

    Args:
        hidden: h_t.
        direct: direct gradients of the loss, such as those of nn.RNN's output. Their scale does not matter.
        recurrent: W_hh.
        nonlinearity: of the recurrence.
    """
    derivative = activation_derivative(hidden, nonlinearity, out=torch.empty_like(hidden))
    total = torch.empty_like(hidden)
    elman_adjoint(direct, derivative.clone(), recurrent, None, total)
    length, smallest = total[1:].norm(dim=2), torch.finfo(total.dtype).tiny
    there = length > smallest**0.5
    sent = (total[1:] / length.clamp_min(smallest).unsqueeze(2)).mul_(derivative[1:])
    received = sent @ recurrent
    ratio = received.norm(dim=2)
    terms = max(1, ratio.numel())
    value = torch.where(there, (ratio - 1).square(), 0).sum() / terms
    slope = torch.where(there, 2 * (ratio - 1) / ratio.clamp_min(smallest), 0) / terms
    gradient = sent.flatten(0, 1).mT @ (received * slope.unsqueeze(2)).flatten(0, 1)
    return Omega(value, gradient)

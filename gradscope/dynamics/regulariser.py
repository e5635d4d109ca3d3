"""Omega, which pushes the gradient through time of a plain recurrence to keep its length.

Omega = sum_t (|J_t^T a_t| / |a_t| - 1)^2, mean over the sequences, with a_t = dL/dh_t and J_t = dh_t/dh_{t-1}.

Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, equations 9 and 10. Only what W_hh does to J_t directly is
differentiated: the states and a_t count as given, as there. Terms with a_t = 0 are left out.
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
    """Return Omega of a plain recurrence, over all steps between two of its times.

    Args:
        hidden: h_t.
        direct: direct gradients of the loss, such as those of nn.RNN's output. Their scale does not matter.
        recurrent: W_hh.
        nonlinearity: of the recurrence.
    """
    derivative = activation_derivative(hidden, nonlinearity, out=torch.empty_like(hidden))
    total = torch.empty_like(hidden)
    elman_adjoint(direct, derivative.clone(), recurrent, None, total)
    sent = _direction(total[1:]).mul_(derivative[1:])
    received = sent @ recurrent
    ratio = received.norm(dim=2)
    there = ratio > 0
    value = torch.where(there, (ratio - 1).square(), 0).sum() / hidden.shape[1]
    slope = torch.where(there, 2 * (ratio - 1) / _not_zero(ratio), 0) / hidden.shape[1]
    gradient = sent.flatten(0, 1).mT @ (received * slope.unsqueeze(2)).flatten(0, 1)
    return Omega(value, gradient)


def _direction(vectors: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "time batch hidden"]:
    """Return vectors of length 1, zero for zero; squares of what is scaled to 1 first do not underflow."""
    scaled = vectors / _not_zero(vectors.abs().amax(2, keepdim=True))
    return scaled / _not_zero(scaled.norm(dim=2, keepdim=True))


def _not_zero(sizes: Tensor) -> Tensor:
    return sizes.clamp_min(torch.finfo(sizes.dtype).tiny)

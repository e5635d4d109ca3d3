"""The plain recurrence of nn.RNN: h_t = phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), phi = tanh or relu."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

Nonlinearity = Literal["tanh", "relu"]


def activation_derivative(
    hidden: Float[Tensor, "time batch hidden"],
    nonlinearity: Nonlinearity,
    out: Float[Tensor, "time batch hidden"],
) -> Float[Tensor, "time batch hidden"]:
    """Write phi'(u_t) into `out`; both nonlinearities let one read it off h_t = phi(u_t) itself.

    The derivative of relu at 0 is 0, as in autograd.

    Returns:
        `out`.
    """
    if nonlinearity == "tanh":
        return torch.addcmul(hidden.new_ones(()), hidden, hidden, value=-1, out=out)
    return torch.gt(hidden, 0, out=out)

"""The plain recurrence of nn.RNN: h_t = phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh), phi = tanh or relu."""

from typing import Literal

from jaxtyping import Float
from torch import Tensor

Nonlinearity = Literal["tanh", "relu"]


def activation_derivative(
    hidden: Float[Tensor, "time batch hidden"], nonlinearity: Nonlinearity
) -> Float[Tensor, "time batch hidden"]:
    """Return phi'(u_t), which both nonlinearities let one read off h_t = phi(u_t) itself.

    The derivative of relu at 0 is 0, as in autograd.
    """
    if nonlinearity == "tanh":
        return 1 - hidden.square()
    return (hidden > 0).to(hidden.dtype)

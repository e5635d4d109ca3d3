"""The direct gradient e_t: what a loss sends into each state at its own time."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics.full_state import StateForm
from gradscope.errors import UsageError

Loss = Callable[[State], Tensor] | Tensor
"""What is differentiated.

Either a function that takes the states of all times, stacked along a first axis and in the cell's own form (an LSTM's
is the pair of h (time, batch, hidden) and c), and returns one number; or the direct gradients it has there, a Tensor
(time, batch, full state).
"""


def direct_gradient(
    loss: Loss, states: Float[Tensor, "time batch full_state"], form: StateForm
) -> Float[Tensor, "time batch full_state"]:
    """Return e_t, the gradient of `loss` with respect to each full state, all others held fixed.

    Args:
        loss: the loss as a function of the states, or its direct gradients.
        states: of all times.
        form: of the state.

    Raises:
        UsageError: the loss is no single number, does not depend on the states, or the gradients' shape is not theirs.
    """
    if isinstance(loss, Tensor):
        if loss.shape != states.shape:
            raise UsageError(
                f"direct gradients must be (time, batch, full state) = {tuple(states.shape)}, got {tuple(loss.shape)}; "
                "for an LSTM the full state is h and c, one behind the other"
            )
        return loss.detach()
    with torch.enable_grad():
        leaf = states.detach().requires_grad_()
        value = loss(form.restore(leaf))
        if not (isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad):
            raise UsageError(
                "the loss must be a function of the states of all times that returns one differentiable number, got "
                + (f"a Tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__)
                + (" that does not depend on them" if isinstance(value, Tensor) and not value.requires_grad else "")
            )
        gradient = torch.autograd.grad(value.sum(), leaf, allow_unused=True)[0]
    return torch.zeros_like(states) if gradient is None else gradient

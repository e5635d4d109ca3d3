"""The total gradient a_t = dL/dz_t by every path through time: a_t = e_t + J_{t+1}^T a_{t+1}."""

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics.direct import Loss, direct_gradient
from gradscope.dynamics.full_state import StateForm, Step, flat_step
from gradscope.dynamics.linearised import pull_back
from gradscope.dynamics.trajectory import roll_out


@torch.no_grad()
def total_gradient(
    step: Step, inputs: Float[Tensor, "time batch ..."], state: State, loss: Loss
) -> Float[Tensor, "time batch full_state"]:
    """Return dL/dz_t of every time over the full state, LSTM: h and c, one behind the other.

    The gradient of c_t is what c_{t+1} and the loss take from c_t itself; what c_t does to h_t of its own time is part
    of the step, and counted in h_t's. (`Trajectory.cell_gradient` of a recording counts both.)

    Args:
        step: one time: a function (input, state) -> state, a cell, or a one-layer module.
        inputs: of all times.
        state: before the first time, as the cell takes it.
        loss: a function of the states of all times that returns one number, or its direct gradients.

    Raises:
        UsageError: shapes do not fit, or the loss is no differentiable number.
    """
    form = StateForm.of(state)
    states = roll_out(step, inputs, state)
    total = direct_gradient(loss, states, form).clone()
    advance = flat_step(step, form)
    for t in range(len(states) - 1, 0, -1):
        total[t - 1] += pull_back(advance, inputs[t], states[t - 1], total[t : t + 1])[0]
    return total

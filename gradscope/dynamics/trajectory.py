"""The states that a recurrence runs through."""

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics.full_state import StateForm, Step, check_batch, flat_step


@torch.no_grad()
def roll_out(
    step: Step, inputs: Float[Tensor, "time batch ..."], state: State
) -> Float[Tensor, "time batch full_state"]:
    """Return the full state z_t after each time, from the state before the first.

    Args:
        step: one time: a function (input, state) -> state, a cell, or a one-layer module.
        inputs: of all times.
        state: before the first time, as the cell takes it.

    Raises:
        UsageError: inputs and state are of different batch sizes.
    """
    check_batch(inputs, state)
    form = StateForm.of(state)
    advance, full, states = flat_step(step, form), form.flatten(state), []
    for x in inputs:
        full = advance(x, full)
        states.append(full)
    return torch.stack(states)


def states_before(
    state: State, states: Float[Tensor, "time batch full_state"]
) -> Float[Tensor, "time batch full_state"]:
    """Return the full state z_{t-1} before each time."""
    return torch.cat([StateForm.of(state).flatten(state)[None], states[:-1]])

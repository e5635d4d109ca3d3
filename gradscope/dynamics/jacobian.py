"""Jacobians J_t = dz_t / dz_{t-1} of one time, and their products over many, over the full state."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.step_functions import State
from gradscope.dynamics.full_state import StateForm, Step, check_batch, flat_step
from gradscope.dynamics.linearised import dense_jacobian, dense_jacobians
from gradscope.dynamics.trajectory import roll_out, states_before


class JacobianProducts(NamedTuple):
    """Products of Jacobians over ever more times, each divided by its own scale so that none over- or underflows.

    Attributes:
        matrices: (time, batch, state, state), of largest magnitude 1; the product is this times exp(log_scale).
        log_scale: (time, batch), natural logarithm; minus infinity where the product is exactly 0.
    """

    matrices: Float[Tensor, "time batch state state"]
    log_scale: Float[Tensor, "time batch"]


@torch.no_grad()
def state_jacobian(
    step: Step, x: Float[Tensor, "batch ..."], state: State
) -> Float[Tensor, "batch full_state full_state"]:
    """Return dz_t / dz_{t-1} over the full state (LSTM: h and c, one behind the other), for each sequence.

    Args:
        step: one time: a function (input, state) -> state, a cell, or a one-layer module.
        x: input of that time.
        state: before it, as the cell takes it.

    Returns:
        Entry [b, i, j] is the derivative of unit i after by unit j before.

    Raises:
        UsageError: input and state are of different batch sizes.
    """
    check_batch(x[None], state)
    form = StateForm.of(state)
    return dense_jacobian(flat_step(step, form), x, form.flatten(state))


@torch.no_grad()
def jacobians_through_time(
    step: Step, inputs: Float[Tensor, "time batch ..."], state: State
) -> Float[Tensor, "time batch full_state full_state"]:
    """Return J_t of every time, along the states that the recurrence runs through; all times are one batch.

    They take time * batch * state^2 numbers.

    Args:
        step: one time: a function (input, state) -> state, a cell, or a one-layer module.
        inputs: of all times.
        state: before the first time, as the cell takes it.

    Raises:
        UsageError: inputs and state are of different batch sizes.
    """
    before = states_before(state, roll_out(step, inputs, state))
    return dense_jacobians(flat_step(step, StateForm.of(state)), inputs, before)


def jacobian_products(jacobians: Float[Tensor, "time batch state state"]) -> JacobianProducts:
    """Return dz_{T-1} / dz_{t-1} = J_{T-1} ... J_t for every time t: what the last state still knows of an earlier one.

    Entry 0 is the product over all times, the last entry the last Jacobian alone. Singular values below the largest by
    more than the precision of the dtype are lost in any such product; `lyapunov_exponents` is not subject to that.
    """
    matrices, log_scales = torch.empty_like(jacobians), []
    product, log_scale = None, jacobians.new_zeros(jacobians.shape[1])
    for t in range(len(jacobians) - 1, -1, -1):
        product = jacobians[t] if product is None else product @ jacobians[t]
        scale = product.abs().amax((1, 2))
        log_scale = log_scale + scale.log()
        product = product / torch.where(scale > 0, scale, 1)[:, None, None]
        matrices[t] = product
        log_scales.append(log_scale)
    return JacobianProducts(matrices, torch.stack(log_scales[::-1]))

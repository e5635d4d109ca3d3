"""The adjoint sweep: total gradients a_t = dL/dh_t from direct ones, a_t = e_t + J_{t+1}^T a_{t+1}, backwards in time.

Everything that can be computed for all times at once (gates, local derivatives) comes in as a tensor over time; what
is left in the loop is one matrix product and a few in-place elementwise operations a time. The arithmetic is that of
the training's own dtype, so that an underflow in the training is an underflow here too.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.gru import GRUTimes
from gradscope.cells.lstm import LSTMTimes


class Adjoint(NamedTuple):
    """Total gradients of the hidden states, and delta_t, the gradients of W_hh h_{t-1} + b_hh."""

    hidden: Float[Tensor, "time batch hidden"]
    preactivation: Float[Tensor, "time batch rows"]


class LSTMAdjoint(NamedTuple):
    """As `Adjoint`, with the total gradients of the cell states."""

    hidden: Float[Tensor, "time batch hidden"]
    cell: Float[Tensor, "time batch hidden"]
    preactivation: Float[Tensor, "time batch rows"]


def elman_adjoint(
    direct: Float[Tensor, "time batch hidden"],
    derivative: Float[Tensor, "time batch hidden"],
    recurrent: Float[Tensor, "hidden hidden"],
) -> Adjoint:
    """Sweep back through a plain recurrence.

    Args:
        direct: direct gradients e_t.
        derivative: phi'(u_t) of each unit.
        recurrent: W_hh.

    Returns:
        a_t, and delta_t = phi'(u_t) * a_t.
    """
    hidden = torch.empty_like(direct, memory_format=torch.contiguous_format)
    delta = torch.empty_like(hidden)
    direct_at, derivative_at, hidden_at, delta_at = (v.unbind(0) for v in (direct, derivative, hidden, delta))
    last = len(direct_at) - 1
    hidden_at[last].copy_(direct_at[last])
    for t in range(last, -1, -1):
        if t < last:
            torch.addmm(direct_at[t], delta_at[t + 1], recurrent, out=hidden_at[t])
        torch.mul(hidden_at[t], derivative_at[t], out=delta_at[t])
    return Adjoint(hidden, delta)


def gru_adjoint(
    direct: Float[Tensor, "time batch hidden"],
    times: GRUTimes,
    factors: Float[Tensor, "time batch 3 hidden"],
    recurrent: Float[Tensor, "rows hidden"],
) -> Adjoint:
    """Sweep back through a GRU.

    Args:
        direct: direct gradients e_t.
        times: what the layer computed.
        factors: from `gru_preactivation_factors`.
        recurrent: W_hh, rows r, z, n.

    Returns:
        a_t, and delta_t in the rows r, z, n; the last already scaled by r_t, as W_hn's own gradient is.
    """
    hidden = torch.empty_like(direct, memory_format=torch.contiguous_format)
    delta = torch.empty_like(factors)
    direct_at, update_at, factors_at = (v.unbind(0) for v in (direct, times.update, factors))
    hidden_at, delta_at, rows_at = hidden.unbind(0), delta.unbind(0), delta.flatten(2).unbind(0)
    last = len(direct_at) - 1
    hidden_at[last].copy_(direct_at[last])
    for t in range(last, -1, -1):
        if t < last:
            torch.addmm(direct_at[t], rows_at[t + 1], recurrent, out=hidden_at[t])
            hidden_at[t].addcmul_(hidden_at[t + 1], update_at[t + 1])
        torch.mul(hidden_at[t].unsqueeze(1), factors_at[t], out=delta_at[t])
    return Adjoint(hidden, delta.flatten(2))


def lstm_adjoint(
    direct: Float[Tensor, "time batch hidden"],
    direct_last_cell: Float[Tensor, "batch hidden"],
    times: LSTMTimes,
    factors: Float[Tensor, "time batch 4 hidden"],
    recurrent: Float[Tensor, "rows hidden"],
) -> LSTMAdjoint:
    """Sweep back through an LSTM, over the full state (h, c).

    Args:
        direct: direct gradients e_t of the hidden states.
        direct_last_cell: what the loss sends straight into c_n; other cell states have no direct gradient.
        times: what the layer computed.
        factors: from `lstm_preactivation_factors`.
        recurrent: W_hh, rows i, f, g, o.

    Returns:
        dL/dh_t, dL/dc_t by every path, and delta_t in the rows i, f, g, o.
    """
    hidden = torch.empty_like(direct, memory_format=torch.contiguous_format)
    cell = torch.empty_like(hidden)
    delta = torch.empty_like(factors)
    hidden_to_cell = times.gates[:, :, 3] * (1 - times.tanh_cell.square())
    direct_at, to_cell_at, forget_at = (v.unbind(0) for v in (direct, hidden_to_cell, times.gates[:, :, 1]))
    hidden_at, cell_at, cell_columns_at = (v.unbind(0) for v in (hidden, cell, cell.unsqueeze(2)))
    cell_factors_at, output_factors_at = factors[:, :, :3].unbind(0), factors[:, :, 3].unbind(0)
    cell_delta_at, output_delta_at = delta[:, :, :3].unbind(0), delta[:, :, 3].unbind(0)
    rows_at = delta.flatten(2).unbind(0)
    last = len(direct_at) - 1
    hidden_at[last].copy_(direct_at[last])
    carried = direct_last_cell
    for t in range(last, -1, -1):
        if t < last:
            torch.addmm(direct_at[t], rows_at[t + 1], recurrent, out=hidden_at[t])
        torch.addcmul(carried, hidden_at[t], to_cell_at[t], out=cell_at[t])
        torch.mul(cell_columns_at[t], cell_factors_at[t], out=cell_delta_at[t])
        torch.mul(hidden_at[t], output_factors_at[t], out=output_delta_at[t])
        carried = cell_at[t] * forget_at[t]
    return LSTMAdjoint(hidden, cell, delta.flatten(2))

"""The adjoint sweep: total gradients a_t = dL/dh_t from direct ones, a_t = e_t + J_{t+1}^T a_{t+1}, backwards in time.

What can be computed for many times at once (gates, local derivatives) comes in as a tensor over time; what is left
in the loop is one matrix product and a few in-place elementwise operations a time. The arithmetic is that of the
training's own dtype, float32 at least, so that an underflow in such a training is an underflow here too.

A sweep covers a block of consecutive times. It takes what later times send back into the block's last state
(`incoming`, None at the end of the sequence) and returns what the block sends into the state before it: blocks chain
from the last to the first, so that temporaries stay as small as a block. Where a sweep takes the elementwise factors
of delta_t, the gradient of W_hh h_{t-1} + b_hh, it leaves delta_t itself in their place.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gradscope.cells.gru import GRUTimes
from gradscope.cells.scan import scan_back
from gradscope.cells.weights import LayerWeights

_AGREES, _FACTOR_ROUNDING = 64, 8
"""How many roundings apart is the same: beside the norm of delta_t, and beside the largest a_t of each unit."""


def elman_adjoint(
    direct: Float[Tensor, "time batch hidden"],
    derivative: Float[Tensor, "time batch hidden"],
    recurrent: Float[Tensor, "hidden hidden"],
    incoming: Float[Tensor, "batch hidden"] | None,
    out: Float[Tensor, "time batch hidden"],
) -> Float[Tensor, "batch hidden"]:
    """Sweep back through a plain recurrence.

    Args:
        direct: direct gradients e_t.
        derivative: phi'(u_t) of each unit; becomes delta_t.
        recurrent: W_hh.
        incoming: what later times send into the block's last h_t.
        out: receives the total gradients a_t.

    Returns:
        The gradient that goes on backwards into h.
    """
    out.copy_(direct)
    total_at, delta_at = out.unbind(0), derivative.unbind(0)
    if incoming is not None:
        total_at[-1].add_(incoming)
    for t in range(len(total_at) - 1, -1, -1):
        delta_at[t].mul_(total_at[t])
        if t:
            total_at[t - 1].addmm_(delta_at[t], recurrent)
    return delta_at[0] @ recurrent


def elman_state_adjoint(
    total: Float[Tensor, "time batch hidden"],
    delta: Float[Tensor, "time batch hidden"],
    recurrent: Float[Tensor, "hidden hidden"],
    incoming: Float[Tensor, "batch hidden"] | None,
) -> Float[Tensor, "batch hidden"]:
    """Go back through a plain recurrence whose delta_t are known already: no time waits for another.

    Args:
        total: direct gradients e_t; become the total gradients a_t.
        delta: delta_t.
        recurrent: W_hh.
        incoming: what later times send into the block's last h_t.

    Returns:
        The gradient that goes on backwards into h.
    """
    total[:-1].view(-1, total.shape[2]).addmm_(delta[1:].flatten(0, 1), recurrent)
    if incoming is not None:
        total[-1] += incoming
    return delta[0] @ recurrent


def gru_adjoint(
    direct: Float[Tensor, "time batch hidden"],
    times: GRUTimes,
    factors: Float[Tensor, "time batch 3 hidden"],
    recurrent: Float[Tensor, "rows hidden"],
    incoming: Float[Tensor, "batch hidden"] | None,
    out: Float[Tensor, "time batch hidden"],
) -> Float[Tensor, "batch hidden"]:
    """Sweep back through a GRU.

    Args:
        direct: direct gradients e_t.
        times: what the layer computed.
        factors: from `gru_preactivation_factors`; become delta_t in the rows r, z, n, the last scaled by r_t as W_hn's
            own gradient is.
        recurrent: W_hh, rows r, z, n.
        incoming: what later times send into the block's last h_t.
        out: receives the total gradients a_t.

    Returns:
        The gradient that goes on backwards into h.
    """
    out.copy_(direct)
    total_at, update_at = out.unbind(0), times.update.unbind(0)
    delta_at, rows_at = factors.unbind(0), factors.flatten(2).unbind(0)
    if incoming is not None:
        total_at[-1].add_(incoming)
    for t in range(len(total_at) - 1, -1, -1):
        delta_at[t].mul_(total_at[t].unsqueeze(1))
        if t:
            total_at[t - 1].addmm_(rows_at[t], recurrent).addcmul_(total_at[t], update_at[t])
    return (rows_at[0] @ recurrent).addcmul_(total_at[0], update_at[0])


def gru_state_adjoint(
    total: Float[Tensor, "time batch hidden"],
    update: Float[Tensor, "time batch hidden"],
    rows: Float[Tensor, "time batch rows"],
    recurrent: Float[Tensor, "rows hidden"],
    incoming: Float[Tensor, "batch hidden"] | None,
) -> Float[Tensor, "batch hidden"]:
    """Go back through a GRU whose delta_t are known already: what is left is elementwise.

    Args:
        total: direct gradients e_t; become the total gradients a_t.
        update: z_t.
        rows: delta_t, that of the candidate scaled by r_t.
        recurrent: W_hh, rows r, z, n.
        incoming: what later times send into the block's last h_t.

    Returns:
        The gradient that goes on backwards into h.
    """
    total[:-1].view(-1, total.shape[2]).addmm_(rows[1:].flatten(0, 1), recurrent)
    if incoming is not None:
        total[-1] += incoming
    scan_back(update, total)
    return (rows[0] @ recurrent).addcmul_(total[0], update[0])


def gru_agrees(
    total: Float[Tensor, "time batch hidden"],
    update: Float[Tensor, "time batch hidden"],
    candidate: Float[Tensor, "time batch hidden"],
    candidate_gradient: Float[Tensor, "time batch hidden"],
    exists: Bool[Tensor, "time batch"] | None,
    rounding: float,
) -> bool:
    """Return whether total gradients from `gru_state_adjoint` are those that delta_t came of, at some times.

    That function adds z_t a_t to what delta_t, which is given, sends back. Where the two all but cancel, the true
    gradient vanishes sooner than the product of the z_t by which rounding does, and a_t would be rounding alone. But
    the candidate's row of delta_t is a_t (1 - z_t) (1 - n_t^2).

    Args:
        total: a_t.
        update: z_t.
        candidate: n_t.
        candidate_gradient: the candidate's row of delta_t, not scaled by r_t.
        exists: which (time, batch) there are; None where all are.
        rounding: of 1, in what the training computed with.
    """
    factor = (1 - update) * (1 - candidate.square())
    # By the largest, since squares would vanish; what is hardly a normal number has no digits that could agree.
    scale = total.abs().amax(2).clamp_min(torch.finfo(total.dtype).tiny / rounding)
    off, size = (
        torch.linalg.vector_norm(values / scale.unsqueeze(2), dim=2)
        for values in (candidate_gradient - total * factor, candidate_gradient)
    )
    # What z_t and n_t are rounded by is no smaller where their factor is.
    wrong = off > _AGREES * rounding * size + _FACTOR_ROUNDING * rounding * total.shape[2] ** 0.5
    return not bool((wrong if exists is None else wrong & exists).any())


def lstm_adjoint(
    direct: Float[Tensor, "time batch hidden"],
    gates: Float[Tensor, "time batch 4 units"],
    tanh_cell: Float[Tensor, "time batch units"],
    factors: Float[Tensor, "time batch 4 units"],
    weights: LayerWeights,
    incoming: Float[Tensor, "batch hidden"] | None,
    incoming_cell: Float[Tensor, "batch units"],
    out: Float[Tensor, "time batch hidden"],
    out_cell: Float[Tensor, "time batch units"],
) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch units"]]:
    """Sweep back through an LSTM, over the full state (h, c).

    Args:
        direct: direct gradients e_t of the hidden states.
        gates: i, f, g, o as activated.
        tanh_cell: tanh(c_t).
        factors: from `lstm_preactivation_factors`; become delta_t in the rows i, f, g, o.
        weights: the recurrent ones are used, and the projection if there is one.
        incoming: what later times send into the block's last h_t.
        incoming_cell: what reaches the block's last c_t from later times, or directly from the loss at the end.
        out: receives dL/dh_t by every path.
        out_cell: receives dL/dc_t by every path.

    Returns:
        The gradients that go on backwards into h and into c.
    """
    out.copy_(direct)
    recurrent, projection = weights.recurrent, weights.projection
    output_gate = gates[:, :, 3]
    into_cell = torch.addcmul(output_gate, output_gate, tanh_cell.square(), value=-1)  # d h_t / d c_t = o (1 - tanh^2)
    total_at, into_cell_at, forget_at = out.unbind(0), into_cell.unbind(0), gates[:, :, 1].unbind(0)
    cell_at, cell_column_at = out_cell.unbind(0), out_cell.unsqueeze(2).unbind(0)
    cell_delta_at, output_delta_at = factors[:, :, :3].unbind(0), factors[:, :, 3].unbind(0)
    rows_at = factors.flatten(2).unbind(0)
    if incoming is not None:
        total_at[-1].add_(incoming)
    carried = incoming_cell
    for t in range(len(total_at) - 1, -1, -1):
        exposed = total_at[t] if projection is None else total_at[t] @ projection  # d L / d (o tanh(c))
        torch.addcmul(carried, exposed, into_cell_at[t], out=cell_at[t])
        cell_delta_at[t].mul_(cell_column_at[t])
        output_delta_at[t].mul_(exposed)
        carried = cell_at[t] * forget_at[t]
        if t:
            total_at[t - 1].addmm_(rows_at[t], recurrent)
    return rows_at[0] @ recurrent, carried


def lstm_state_adjoint(
    total: Float[Tensor, "time batch hidden"],
    gates: Float[Tensor, "time batch 4 hidden"],
    tanh_cell: Float[Tensor, "time batch hidden"],
    factors: Float[Tensor, "time batch 4 hidden"],
    cell_gradient: Float[Tensor, "time batch hidden"],
) -> None:
    """Finish an LSTM of which it is known what goes from each time to the one before: no time waits for another.

    Args:
        total: dL/dh_t by every path.
        gates: i, f, g, o as activated.
        tanh_cell: tanh(c_t).
        factors: from `lstm_preactivation_factors`; become delta_t in the rows i, f, g, o.
        cell_gradient: what comes back to c_t from the next time, or directly from the loss at the end; becomes dL/dc_t.
    """
    output_gate = gates[:, :, 3]
    into_cell = torch.addcmul(output_gate, output_gate, tanh_cell.square(), value=-1)
    cell_gradient.addcmul_(into_cell, total)
    factors[:, :, :3].mul_(cell_gradient.unsqueeze(2))
    factors[:, :, 3].mul_(total)


def lstm_cell_adjoint(
    total: Float[Tensor, "time batch hidden"],
    gates: Float[Tensor, "time batch 4 units"],
    tanh_cell: Float[Tensor, "time batch units"],
    factors: Float[Tensor, "time batch 4 units"],
    projection: Float[Tensor, "hidden units"] | None,
    incoming_cell: Float[Tensor, "batch units"],
    out_cell: Float[Tensor, "time batch units"],
) -> Float[Tensor, "batch units"]:
    """Go back through an LSTM whose dL/dh_t are known already: what is left is elementwise.

    Args:
        total: dL/dh_t by every path.
        gates: i, f, g, o as activated.
        tanh_cell: tanh(c_t).
        factors: from `lstm_preactivation_factors`; become delta_t in the rows i, f, g, o.
        projection: W_hr, if there is one.
        incoming_cell: what reaches the block's last c_t from later times, or directly from the loss at the end.
        out_cell: receives dL/dc_t by every path.

    Returns:
        The gradient that goes on backwards into c.
    """
    exposed = total if projection is None else total @ projection
    output_gate, forget_gate = gates[:, :, 3], gates[:, :, 1]
    into_cell = torch.addcmul(output_gate, output_gate, tanh_cell.square(), value=-1)
    # dL/dc_t = (what enters at t) + f_{t+1} dL/dc_{t+1}.
    torch.mul(into_cell, exposed, out=out_cell)
    out_cell[-1] += incoming_cell
    scan_back(forget_gate, out_cell)
    factors[:, :, :3].mul_(out_cell.unsqueeze(2))
    factors[:, :, 3].mul_(exposed)
    return out_cell[0] * forget_gate[0]


def lstm_agrees(
    back: Float[Tensor, "later batch hidden"],
    rows: Float[Tensor, "time batch rows"],
    recurrent: Float[Tensor, "rows hidden"],
    rounding: float,
    checked: int,
) -> bool:
    """Return whether delta_t from `lstm_cell_adjoint` sends back what is known to come back, at some times.

    That function carries dL/dc_t from time to time by the forget gates alone, which rounding survives for longer than
    the gradient may; see `gru_agrees`.

    Args:
        back: what comes back into h_t from the next time, as the training computed it; the last time's may be missing.
        rows: delta_t.
        recurrent: W_hh.
        rounding: of 1, in what the training computed with.
        checked: at how many times about.
    """
    step = max(1, (len(rows) - 1) // checked)
    known, later = back[: len(rows) - 1 : step], rows[1::step]
    scale = later.abs().amax(2).clamp_min(torch.finfo(rows.dtype).tiny / rounding).unsqueeze(2)
    later = later / scale
    off = torch.linalg.vector_norm(later @ recurrent - known / scale, dim=2)
    size = torch.linalg.vector_norm(later, dim=2) * torch.linalg.vector_norm(recurrent)
    return not bool((off > _AGREES * rounding * size).any())

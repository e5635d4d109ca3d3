"""One time of nn.GRU. The reset gate sits INSIDE the candidate's recurrent path, as in cuDNN.

r_t = sigmoid(W_ir x_t + b_ir + W_hr h_{t-1} + b_hr)
z_t = sigmoid(W_iz x_t + b_iz + W_hz h_{t-1} + b_hz)
n_t = tanh(W_in x_t + b_in + r_t * m_t),  m_t = W_hn h_{t-1} + b_hn
h_t = (1 - z_t) * n_t + z_t * h_{t-1}

Cho et al. 2014, https://arxiv.org/abs/1406.1078, in the variant that torch.nn.GRU documents.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.weights import LayerWeights, project


class GRUTimes(NamedTuple):
    """What a GRU computed at some times: r_t, z_t, n_t and m_t of the module's docstring."""

    reset: Float[Tensor, "time batch hidden"]
    update: Float[Tensor, "time batch hidden"]
    candidate: Float[Tensor, "time batch hidden"]
    candidate_recurrent: Float[Tensor, "time batch hidden"]


def recompute_gru(
    inputs: Float[Tensor, "time batch input"],
    hidden_before: Float[Tensor, "time batch hidden"],
    weights: LayerWeights,
) -> GRUTimes:
    """Return the gates of many times, recomputed in two matrix products from the hidden sequence of the layer."""
    from_input = project(inputs, weights.input, weights.input_bias).chunk(3, dim=-1)
    from_hidden = project(hidden_before, weights.recurrent, weights.recurrent_bias).chunk(3, dim=-1)
    reset = (from_input[0] + from_hidden[0]).sigmoid_()
    update = (from_input[1] + from_hidden[1]).sigmoid_()
    candidate = (from_input[2] + reset * from_hidden[2]).tanh_()
    return GRUTimes(reset, update, candidate, from_hidden[2])


def gru_preactivation_factors(
    times: GRUTimes,
    hidden_before: Float[Tensor, "time batch hidden"],
    out: Float[Tensor, "time batch 3 hidden"],
) -> None:
    """Write d h_t / d (W_hh h_{t-1} + b_hh) into `out`, elementwise, one factor for each of the rows r, z, n.

    Times the total gradient a_t it gives delta_t, the gradient of the recurrent pre-activations.
    """
    keep = 1 - times.update
    reset_row, update_row, candidate_row = out.unbind(2)
    torch.mul(hidden_before - times.candidate, times.update, out=update_row)
    update_row.mul_(keep)
    torch.mul(keep.addcmul_(keep, times.candidate.square(), value=-1), times.reset, out=candidate_row)
    torch.mul(candidate_row, times.candidate_recurrent, out=reset_row)
    reset_row.addcmul_(reset_row, times.reset, value=-1)

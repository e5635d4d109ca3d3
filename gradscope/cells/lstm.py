"""One time of nn.LSTM (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000). Its state is (h, c).

i_t, f_t, o_t = sigmoid(W x_t + b_ih + U h_{t-1} + b_hh), g_t = tanh(...): rows i, f, g, o in PyTorch's order
c_t = f_t * c_{t-1} + i_t * g_t
h_t = o_t * tanh(c_t)
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.weights import LayerWeights, project


@dataclass(frozen=True)
class LSTMTimes:
    """What an LSTM computed at every time: the activated gates i, f, g, o, and the cell states."""

    gates: Float[Tensor, "time batch 4 hidden"]
    cell: Float[Tensor, "time batch hidden"]
    cell_before: Float[Tensor, "time batch hidden"]
    tanh_cell: Float[Tensor, "time batch hidden"]


def recompute_lstm(
    inputs: Float[Tensor, "time batch input"],
    hidden_before: Float[Tensor, "time batch hidden"],
    first_cell: Float[Tensor, "batch hidden"],
    weights: LayerWeights,
) -> LSTMTimes:
    """Recompute all gates of all times at once, then c_t by an elementwise scan.

    The gates depend on the past through h alone, which the layer returned, so that only the scan is sequential.
    """
    both = project(inputs, weights.input, weights.input_bias + weights.recurrent_bias)
    both.flatten(0, 1).addmm_(hidden_before.flatten(0, 1), weights.recurrent.mT)
    gates = both.unflatten(-1, (4, -1))
    gates[:, :, :2].sigmoid_()
    gates[:, :, 2].tanh_()
    gates[:, :, 3].sigmoid_()
    cells = _scan_cells(gates, first_cell)
    return LSTMTimes(gates, cells[1:], cells[:-1], cells[1:].tanh())


def _scan_cells(
    gates: Float[Tensor, "time batch 4 hidden"], first_cell: Float[Tensor, "batch hidden"]
) -> Float[Tensor, "time_and_first batch hidden"]:
    cells = first_cell.new_empty((gates.shape[0] + 1, *first_cell.shape))
    cells[0] = first_cell
    written = (gates[:, :, 0] * gates[:, :, 2]).unbind(0)
    forget = gates[:, :, 1].unbind(0)
    rows = cells.unbind(0)
    for t in range(len(written)):
        torch.addcmul(written[t], forget[t], rows[t], out=rows[t + 1])
    return cells


def lstm_preactivation_factors(times: LSTMTimes) -> Float[Tensor, "time batch 4 hidden"]:
    """Return the elementwise factors that turn gradients of the state into delta_t, the pre-activations' gradient.

    Rows i, f, g multiply dL/dc_t; row o multiplies dL/dh_t.
    """
    input_gate, forget_gate, candidate, output_gate = times.gates.unbind(2)
    factors = torch.empty_like(times.gates)
    factors[:, :, :2] = times.gates[:, :, :2] * (1 - times.gates[:, :, :2])
    factors[:, :, 0] *= candidate
    factors[:, :, 1] *= times.cell_before
    factors[:, :, 2] = input_gate * (1 - candidate.square())
    factors[:, :, 3] = times.tanh_cell * output_gate * (1 - output_gate)
    return factors

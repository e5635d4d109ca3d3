"""One time of nn.LSTM. Its state is (h, c).

i_t, f_t, o_t = sigmoid(W x_t + b_ih + U h_{t-1} + b_hh), g_t = tanh(the same): rows i, f, g, o in PyTorch's order
c_t = f_t * c_{t-1} + i_t * g_t
h_t = o_t * tanh(c_t)

Hochreiter & Schmidhuber 1997, with the forget gate of Gers, Schmidhuber & Cummins 2000, as torch.nn.LSTM documents.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.scan import scan
from gradscope.cells.weights import LayerWeights


def recompute_lstm_gates(
    inputs: Float[Tensor, "time batch input"],
    hidden_before: Float[Tensor, "time batch hidden"],
    weights: LayerWeights,
    out: Float[Tensor, "time batch 4 units"],
) -> None:
    """Write the activated gates i, f, g, o of many times into `out`.

    They depend on the past through h alone, which the layer returned: all times are one matrix product.
    """
    flat = out.view(-1, weights.recurrent.shape[0])
    bias = weights.input_bias + weights.recurrent_bias
    torch.addmm(bias, inputs.reshape(len(flat), -1), weights.input.mT, out=flat)
    flat.addmm_(hidden_before.reshape(len(flat), -1), weights.recurrent.mT)
    out[:, :, :2].sigmoid_()
    out[:, :, 2].tanh_()
    out[:, :, 3].sigmoid_()


def scan_cells(
    gates: Float[Tensor, "time batch 4 units"],
    first: Float[Tensor, "batch units"],
    out: Float[Tensor, "time batch units"],
) -> None:
    """Write c_t of consecutive times into `out`, from the state `first` before them."""
    torch.mul(gates[:, :, 0], gates[:, :, 2], out=out)
    scan(gates[:, :, 1], out, first)


def lstm_preactivation_factors(
    gates: Float[Tensor, "time batch 4 units"],
    cell_before: Float[Tensor, "time batch units"],
    tanh_cell: Float[Tensor, "time batch units"],
    out: Float[Tensor, "time batch 4 units"],
) -> None:
    """Write the elementwise factors that turn gradients of the state into delta_t into `out`.

    delta_t is the gradient of the pre-activations. Rows i, f, g multiply dL/dc_t; row o multiplies dL/dh_t.
    """
    input_gate, _, candidate, output_gate = gates.unbind(2)
    input_row, forget_row, candidate_row, output_row = out.unbind(2)
    torch.addcmul(gates[:, :, :2], gates[:, :, :2], gates[:, :, :2], value=-1, out=out[:, :, :2])
    input_row.mul_(candidate)
    forget_row.mul_(cell_before)
    torch.mul(candidate, candidate, out=candidate_row)
    torch.addcmul(input_gate, input_gate, candidate_row, value=-1, out=candidate_row)
    torch.addcmul(output_gate, output_gate, output_gate, value=-1, out=output_row)
    output_row.mul_(tanh_cell)

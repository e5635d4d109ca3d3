"""One time of each recurrent layer of PyTorch, written out as differentiable torch operations.

The fused kernels hide the step from one time to the next, and the kernels of the *Cell modules have no forward-mode
derivatives. These do, and they run under torch.func's transforms. The equations are those of torch's documentation.

A bias may also have a batch axis: one bias a sequence, whose gradient is that of each sequence's pre-activations.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import linear

from gradscope.cells.elman import Nonlinearity


class StepWeights(NamedTuple):
    """Weights of one layer and direction; `rows` is hidden size times number of gates, gates in PyTorch's order.

    Attributes:
        input: W_ih.
        recurrent: W_hh; an LSTM with a projection has fewer columns than hidden units.
        input_bias: b_ih, None without one.
        recurrent_bias: b_hh, None without one.
        projection: W_hr of an LSTM with proj_size, else None.
    """

    input: Float[Tensor, "rows input"]
    recurrent: Float[Tensor, "rows columns"]
    input_bias: Float[Tensor, "*batch rows"] | None = None
    recurrent_bias: Float[Tensor, "*batch rows"] | None = None
    projection: Float[Tensor, "columns hidden"] | None = None


def elman_time(
    weights: StepWeights,
    x: Float[Tensor, "batch input"],
    h: Float[Tensor, "batch hidden"],
    nonlinearity: Nonlinearity,
) -> Float[Tensor, "batch hidden"]:
    """Return h_t = phi(W_ih x_t + b_ih + W_hh h_{t-1} + b_hh)."""
    preactivation = _from_input(weights, x) + _from_state(weights, h)
    return torch.relu(preactivation) if nonlinearity == "relu" else torch.tanh(preactivation)


def gru_time(
    weights: StepWeights, x: Float[Tensor, "batch input"], h: Float[Tensor, "batch hidden"]
) -> Float[Tensor, "batch hidden"]:
    """Return h_t = (1 - z_t) n_t + z_t h_{t-1}, the reset gate inside the candidate's recurrent path, as in cuDNN."""
    reset_input, update_input, candidate_input = _from_input(weights, x).chunk(3, -1)
    reset_state, update_state, candidate_state = _from_state(weights, h).chunk(3, -1)
    reset = torch.sigmoid(reset_input + reset_state)
    update = torch.sigmoid(update_input + update_state)
    candidate = torch.tanh(candidate_input + reset * candidate_state)
    return (1 - update) * candidate + update * h


def lstm_time(
    weights: StepWeights,
    x: Float[Tensor, "batch input"],
    state: tuple[Float[Tensor, "batch columns"], Float[Tensor, "batch hidden"]],
) -> tuple[Float[Tensor, "batch columns"], Float[Tensor, "batch hidden"]]:
    """Return (h_t, c_t): c_t = f_t c_{t-1} + i_t g_t, h_t = W_hr (o_t tanh c_t), without a projection W_hr = I."""
    h, c = state
    rows = (_from_input(weights, x) + _from_state(weights, h)).chunk(4, -1)
    input_gate, forget_gate, output_gate = (torch.sigmoid(rows[gate]) for gate in (0, 1, 3))
    c = forget_gate * c + input_gate * torch.tanh(rows[2])
    h = output_gate * torch.tanh(c)
    return (h if weights.projection is None else linear(h, weights.projection)), c


def _from_input(weights: StepWeights, x: Tensor) -> Tensor:
    product = linear(x, weights.input)
    return product if weights.input_bias is None else product + weights.input_bias


def _from_state(weights: StepWeights, h: Tensor) -> Tensor:
    product = linear(h, weights.recurrent)
    return product if weights.recurrent_bias is None else product + weights.recurrent_bias

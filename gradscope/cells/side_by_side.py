"""The nn.RNN or nn.GRU of many networks side by side: one batched matrix product a time for all of them."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Weights(NamedTuple):
    """One layer of each network; gates stand below one another as in PyTorch, and there are no two layers."""

    input: Float[Tensor, "network gates input"]
    recurrent: Float[Tensor, "network gates hidden"]
    input_bias: Float[Tensor, "network gates"]
    recurrent_bias: Float[Tensor, "network gates"]


States = list[Float[Tensor, "network batch hidden"]]
"""h of every time."""


def rnn_tanh(inputs: Float[Tensor, "network time batch input"], weights: Weights) -> States:
    """Return what nn.RNN with tanh does of each network, from zeros."""
    return _plain(inputs, weights, torch.tanh)


def rnn_relu(inputs: Float[Tensor, "network time batch input"], weights: Weights) -> States:
    """Return what nn.RNN with relu does of each network, from zeros."""
    return _plain(inputs, weights, torch.relu)


def gru(inputs: Float[Tensor, "network time batch input"], weights: Weights) -> States:
    """Return what nn.GRU does of each network, from zeros."""
    hidden, states = weights.recurrent.shape[2], States()
    back, bias, state = weights.recurrent.mT, weights.recurrent_bias[:, None], _zeros(inputs, hidden)
    for given in _projected(inputs, weights.input, weights.input_bias):
        # Reset and update gate together, since what takes time here is the number of operations, not their size.
        given_gates, given_new = torch.split_with_sizes(given, (2 * hidden, hidden), dim=2)
        own_gates, own_new = torch.split_with_sizes(torch.baddbmm(bias, state, back), (2 * hidden, hidden), dim=2)
        reset, update = torch.sigmoid(given_gates + own_gates).chunk(2, dim=2)
        new = torch.tanh(given_new + reset * own_new)
        state = new + update * (state - new)
        states.append(state)
    return states


LOOPS: Mapping[str, Callable[[Float[Tensor, "network time batch input"], Weights], States]] = {
    "rnn_tanh": rnn_tanh,
    "rnn_relu": rnn_relu,
    "gru": gru,
}
"""Name of a cell in the table of cells -> its loop. None for nn.LSTM: its one kernel for all times is faster."""


def _plain(
    inputs: Float[Tensor, "network time batch input"], weights: Weights, nonlinearity: Callable[[Tensor], Tensor]
) -> States:
    states = States()
    back, state = weights.recurrent.mT, _zeros(inputs, weights.recurrent.shape[2])
    for given in _projected(inputs, weights.input, weights.input_bias + weights.recurrent_bias):
        state = nonlinearity(torch.baddbmm(given, state, back))
        states.append(state)
    return states


def _projected(
    inputs: Float[Tensor, "network time batch input"],
    weight: Float[Tensor, "network gates input"],
    bias: Float[Tensor, "network gates"],
) -> tuple[Float[Tensor, "network batch gates"], ...]:
    """Return what the inputs give to every time: one product for all times."""
    flat = torch.baddbmm(bias[:, None], inputs.flatten(1, 2), weight.mT)
    return flat.view(*inputs.shape[:3], weight.shape[1]).unbind(1)


def _zeros(inputs: Float[Tensor, "network time batch input"], hidden: int) -> Float[Tensor, "network batch hidden"]:
    return inputs.new_zeros(inputs.shape[0], inputs.shape[2], hidden)

"""Zero inputs: the recurrent part of a gradient out of the kernel's own backward pass, without a sweep of ours.

A layer is fed [x_t, 0] with the input weights [W_ih, W_hh]. Its forward pass stays as it was, and the gradient of the
zeros at time t is W_hh^T delta_t: what goes from time t back into h_{t-1}. Sums over the longer input may round
otherwise than the layer's own, so that this is for those who allow it (`exact="rounding"`). A GRU's candidate has its
reset gate within the recurrent path: there the trick does not hold.
"""

from dataclasses import replace

import torch
from torch import Tensor

from gradscope.instrument.fused.kernels import KernelArguments
from gradscope.instrument.fused.onednn import is_onednn

_FEW_ELEMENTS = 512


def with_zero_inputs(arguments: KernelArguments) -> tuple[KernelArguments, Tensor] | None:
    """Return what to call in place of a single layer, and its zeros; None where that would gain nothing.

    The zeros are laid out as the sequence is, one state beside the other for both directions.
    """
    sequence = arguments.sequence
    tracked = any(tensor.requires_grad for tensor in (sequence, *arguments.initial, *arguments.weights))
    if arguments.kind == "gru" or arguments.is_one_time or not tracked or not _pays(arguments):
        return None
    state = arguments.initial[0].shape[-1]
    zeros = sequence.new_zeros((*sequence.shape[:-1], state * arguments.directions)).requires_grad_()
    weights: list[Tensor] = []
    for direction in range(arguments.directions):
        from_input, from_hidden, *others = arguments.weights_of(direction)
        of_zeros = from_hidden.new_zeros((len(from_hidden), zeros.shape[-1]))
        of_zeros[:, direction * state : (direction + 1) * state] = from_hidden.detach()
        weights += [torch.cat((from_input, of_zeros), 1), from_hidden, *others]
    return replace(arguments, sequence=torch.cat((sequence, zeros), -1), weights=tuple(weights)), zeros


def _pays(arguments: KernelArguments) -> bool:
    if arguments.sequence.device.type != "cpu":
        return True
    # nn.RNN is a loop in C++ there, whose backward pass hands out delta_t already, and oneDNN's LSTM leaves all behind;
    # where a time has many elements, the longer input of a kernel that training waits for costs more than a sweep.
    few = arguments.initial[0][0].numel() <= _FEW_ELEMENTS
    return arguments.kind == "lstm" and few and not is_onednn(arguments)

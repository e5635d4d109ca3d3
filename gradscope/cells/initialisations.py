"""Initialisations, most of them of nn.RNN, nn.LSTM and nn.GRU, that the literature offers against vanishing gradients.

`INITIALISATION_TABLE` lists them with their references.

Two conventions of PyTorch matter here. It keeps TWO bias vectors, whose sum acts: a gate's bias is written into
`bias_ih`, and its part of `bias_hh` becomes 0, so that it counts once. And its GRU is h_t = (1 - z) n + z h_{t-1}: the
update gate z is what KEEPS the state, as an LSTM's forget gate does, so a positive bias on z lengthens the memory.
(Where a paper writes h_t = z n + (1 - z) h_{t-1}, its signs are the other way round.)
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.initialisation_table import INITIALISATION_TABLE
from gradscope.errors import UsageError

# Rows of the gate blocks in PyTorch's stacked weights: LSTM i, f, g, o; GRU r, z, n.
_BLOCKS = {"LSTM": 4, "GRU": 3}
_KEEPING_BLOCK = {"LSTM": 1, "GRU": 1}
_LSTM_INPUT_BLOCK = 0


def initialise(module: nn.Module, name: str, argument: float | None = None) -> None:
    """Initialise a recurrent module in place, drawing from torch's global generator.

    Args:
        module: an nn.RNN, nn.LSTM or nn.GRU of any number of layers and directions, as just constructed; any other
            module for what fits every cell.
        name: a key of `INITIALISATION_TABLE`.
        argument: the number that goes with the name, for example the forget bias.

    Raises:
        UsageError: the name is unknown, its number is missing or out of range, or the module has no such gate or bias.
    """
    if name not in _INITIALISERS:
        raise UsageError(f"unknown initialisation {name!r}: there are {', '.join(_INITIALISERS)}")
    _check_argument(name, argument)
    _check_module(module, name)
    with torch.no_grad():
        _INITIALISERS[name](module, math.nan if argument is None else argument)


def _check_argument(name: str, argument: float | None) -> None:
    entry = INITIALISATION_TABLE[name]
    if argument is None and (entry.argument == "none" or name in _WITHOUT_NUMBER):
        return
    if argument is None:
        raise UsageError(f"{name} needs a number: {entry.argument_meaning}")
    if entry.argument == "none":
        raise UsageError(f"{name} takes no number, got {argument:g}")
    if not math.isfinite(argument) or (entry.above is not None and argument <= entry.above):
        bound = "a finite number" if entry.above is None else f"a number above {entry.above:g}"
        raise UsageError(f"{name} expects {bound} ({entry.argument_meaning}), got {argument:g}")


def _check_module(module: nn.Module, name: str) -> None:
    entry = INITIALISATION_TABLE[name]
    if not isinstance(module, nn.RNNBase):
        if entry.any_cell:
            return
        raise UsageError(f"{name} is for nn.RNN, nn.LSTM and nn.GRU, and {type(module).__name__} is none of them")
    if entry.gated_only and module.mode not in _BLOCKS:
        raise UsageError(f"{name} sets the bias of a gate, and nn.RNN has none: use it with nn.LSTM or nn.GRU")
    if entry.gated_only and not module.bias:
        raise UsageError(f"{name} sets the bias of a gate, and this module was made with bias=False")


def _default(module: nn.Module, _: float) -> None:
    """As PyTorch does it: uniform in +-1/sqrt(hidden). A cell of another kind stays as it was made."""
    if isinstance(module, nn.RNNBase):
        module.reset_parameters()


def _normal(module: nn.Module, std: float) -> None:
    """Every parameter, biases included, from N(0, std)."""
    for parameter in module.parameters():
        parameter.normal_(0, std)


def _uniform(module: nn.Module, largest: float) -> None:
    """Every parameter, biases included, uniform between minus and plus `largest`."""
    for parameter in module.parameters():
        parameter.uniform_(-largest, largest)


def _xavier(module: nn.RNNBase, _: float) -> None:
    """Each gate's matrices keep the variance of activations and gradients halfway; biases 0."""
    _each_matrix(module, nn.init.xavier_uniform_)


def _kaiming(module: nn.RNNBase, _: float) -> None:
    """Each gate's matrices keep the variance of relu activations; biases 0."""
    _each_matrix(module, lambda block: nn.init.kaiming_normal_(block, nonlinearity="relu"))


def _each_matrix(module: nn.RNNBase, fill: Callable[[Tensor], object]) -> None:
    for name, parameter in module.named_parameters():
        if parameter.ndim < 2:
            parameter.zero_()
        elif "weight_hr" in name:
            fill(parameter)
        else:
            for block in parameter.chunk(_BLOCKS.get(module.mode, 1)):
                fill(block)


def _orthogonal(module: nn.RNNBase, gain: float) -> None:
    """Each gate's recurrent matrix is a random orthogonal one of its own, times the gain."""
    for weight in _recurrent_weights(module):
        for block in weight.chunk(_BLOCKS.get(module.mode, 1)):
            nn.init.orthogonal_(block, 1.0 if math.isnan(gain) else gain)


def _identity(module: nn.RNNBase, _: float) -> None:
    """Each gate's recurrent matrix is the identity; every bias is 0.

    Raises:
        UsageError: the recurrent matrices are not square.
    """
    for weight in _recurrent_weights(module):
        for block in weight.chunk(_BLOCKS.get(module.mode, 1)):
            if block.shape[0] != block.shape[1]:
                raise UsageError(
                    f"identity needs square recurrent matrices, got {tuple(block.shape)}: leave out proj_size"
                )
            nn.init.eye_(block)
    for name, parameter in module.named_parameters():
        if name.startswith("bias"):
            parameter.zero_()


def _forget_bias(module: nn.RNNBase, bias: float) -> None:
    """The gate that keeps the state gets the bias: LSTM's forget gate, GRU's update gate."""
    for once, other in _biases(module):
        _set_gate(module, _KEEPING_BLOCK[module.mode], once, other, torch.full((module.hidden_size,), bias))


def _chrono(module: nn.RNNBase, longest: float) -> None:
    """Memories spread evenly up to `longest` times: 1 / (1 - sigmoid(bias)) is uniform on [2, longest].

    LSTM: forget biases b = log U[1, longest - 1], input biases -b. GRU: its update gate is both, so that b goes there
    alone: the share that is kept is sigmoid(b), the share that is new is sigmoid(-b), as in the LSTM.
    """
    for once, other in _biases(module):
        bias = torch.empty(module.hidden_size).uniform_(1, longest - 1).log()
        _set_gate(module, _KEEPING_BLOCK[module.mode], once, other, bias)
        if module.mode == "LSTM":
            _set_gate(module, _LSTM_INPUT_BLOCK, once, other, -bias)


def _recurrent_weights(module: nn.RNNBase) -> Iterator[Tensor]:
    return (weight for name, weight in module.named_parameters() if name.startswith("weight_hh"))


def _biases(module: nn.RNNBase) -> Iterator[tuple[Tensor, Tensor]]:
    """Return the two bias vectors of each layer and direction; their sum is what acts."""
    named = dict(module.named_parameters())
    return ((bias, named[name.replace("ih", "hh")]) for name, bias in named.items() if name.startswith("bias_ih"))


def _set_gate(module: nn.RNNBase, gate: int, once: Tensor, other: Tensor, bias: Float[Tensor, " hidden"]) -> None:
    """Write a gate's bias into one of the two vectors and 0 into the other."""
    rows = slice(gate * module.hidden_size, (gate + 1) * module.hidden_size)
    once[rows] = bias.to(once)
    other[rows] = 0


# Which modules each takes is checked before: those without `any_cell` get an nn.RNNBase.
_INITIALISERS: dict[str, Callable[[Any, float], None]] = {
    "default": _default,
    "normal": _normal,
    "uniform": _uniform,
    "xavier": _xavier,
    "kaiming": _kaiming,
    "orthogonal": _orthogonal,
    "identity": _identity,
    "forget-bias": _forget_bias,
    "chrono": _chrono,
}

# Those that can do without the number that they may be given; chrono's depends on the task.
_WITHOUT_NUMBER = {"orthogonal"}

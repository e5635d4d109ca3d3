"""Slow and obviously right: recurrent cells written out time by time in float64, with a gradient kept at every state.

Nothing here shares code with gradscope: the equations are those of PyTorch's documentation, the gradients autograd's.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

Loss = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""(sequence (time, batch, hidden), h_n (batch, hidden), c_n or None) -> scalar."""


@dataclass
class Truth:
    """Everything about one backward pass, in float64."""

    hidden: Tensor
    total_gradient: Tensor
    direct_gradient: Tensor
    weight_gradient_norm: Tensor
    weight_gradient: Tensor
    cell: Tensor | None = None
    cell_gradient: Tensor | None = None
    gates: dict[str, Tensor] = field(default_factory=dict)


def _weights(module: nn.RNNBase, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    weight_ih, weight_hh = module.weight_ih_l0.detach().to(dtype), module.weight_hh_l0.detach().to(dtype)
    zero = torch.zeros(len(weight_ih), dtype=dtype)
    bias_ih = module.bias_ih_l0.detach().to(dtype) if module.bias else zero
    bias_hh = module.bias_hh_l0.detach().to(dtype) if module.bias else zero
    return weight_ih, weight_hh, bias_ih, bias_hh


def _keep(tensor: Tensor) -> Tensor:
    tensor.requires_grad_() if tensor.is_leaf else tensor.retain_grad()
    return tensor


def unroll(
    module: nn.RNNBase,
    inputs: Tensor,
    loss: Loss,
    hidden: Tensor,
    cell: Tensor | None,
    dtype: torch.dtype = torch.float64,
) -> Truth:
    """Run `module`'s equations over `inputs` (time, batch, input) from the given state, and send the loss back."""
    weight_ih, weight_hh, bias_ih, bias_hh = _weights(module, dtype)
    hidden, cell = hidden.to(dtype), None if cell is None else cell.to(dtype)
    states, cells, outputs, copies, gates = [], [], [], [], []
    for x in inputs.to(dtype):
        copy = weight_hh.clone().requires_grad_()  # a copy a time: its gradient is that time's contribution
        copies.append(copy)
        from_input, from_hidden = x @ weight_ih.T + bias_ih, hidden @ copy.T + bias_hh
        hidden, cell, opened = _STEPS[module.mode](from_input, from_hidden, hidden, cell)
        gates.append(opened)
        states.append(_keep(hidden))
        # The loss sees a copy: the gradient of the copy is the direct one.
        outputs.append(_keep(hidden * 1.0))
        if cell is not None:
            cells.append(_keep(cell))
    last = _keep(outputs[-1] * 1.0)
    value = loss(torch.stack(outputs), last, cell)
    value.backward()
    parts = torch.stack([_gradient(copy) for copy in copies])
    return Truth(
        hidden=torch.stack(states).detach(),
        total_gradient=torch.stack([_gradient(state) for state in states]),
        direct_gradient=torch.stack([_gradient(output) for output in outputs]),
        weight_gradient_norm=parts.flatten(1).norm(dim=1),
        weight_gradient=parts.sum(0),
        cell=torch.stack(cells).detach() if cells else None,
        cell_gradient=torch.stack([_gradient(c) for c in cells]) if cells else None,
        gates={name: torch.stack([g[name] for g in gates]).detach() for name in gates[0]},
    )


def _gradient(tensor: Tensor) -> Tensor:
    return torch.zeros_like(tensor) if tensor.grad is None else tensor.grad


Step = tuple[Tensor, Tensor | None, dict[str, Tensor]]


def _tanh(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None) -> Step:
    return torch.tanh(from_input + from_hidden), None, {}


def _relu(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None) -> Step:
    return torch.relu(from_input + from_hidden), None, {}


def _gru(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None) -> Step:
    (ir, iz, i_n), (hr, hz, hn) = from_input.chunk(3, -1), from_hidden.chunk(3, -1)
    reset, update = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
    candidate = torch.tanh(i_n + reset * hn)
    return (1 - update) * candidate + update * hidden, None, {"reset": reset, "update": update}


def _lstm(from_input: Tensor, from_hidden: Tensor, hidden: Tensor, cell: Tensor | None) -> Step:
    i, f, g, o = (from_input + from_hidden).chunk(4, -1)
    i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
    new = f * cell + i * g
    return o * torch.tanh(new), new, {"input": i, "forget": f, "output": o}


_STEPS = {"RNN_TANH": _tanh, "RNN_RELU": _relu, "GRU": _gru, "LSTM": _lstm}

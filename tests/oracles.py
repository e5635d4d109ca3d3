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


StackLoss = Callable[[list[Tensor], list[Tensor], list[Tensor]], Tensor]
"""(output (time, size) of each sequence, h_n and c_n of each (layer * direction, state)) -> scalar."""


@dataclass
class SequenceTruth:
    """What happened to one sequence in one layer and direction, in the order of positions; a row a time."""

    hidden: Tensor
    total_gradient: Tensor
    direct_gradient: Tensor
    weight_gradients: Tensor
    cell: Tensor | None
    cell_gradient: Tensor | None
    gates: dict[str, Tensor]


def unroll_stack(
    module: nn.RNNBase,
    sequences: list[Tensor],
    loss: StackLoss,
    hidden: Tensor,
    cell: Tensor | None,
    masks: list[Tensor] | None = None,
    dtype: torch.dtype = torch.float64,
) -> dict[str, list[SequenceTruth]]:
    """Run a whole module, sequence by sequence, layer by layer, direction by direction, time by time.

    `sequences` are (time, input), each of its own length; `hidden` and `cell` (layer * direction, batch, state);
    `masks` (time, batch, size), by which dropout multiplies the output of each layer but the last. Returns for each
    suffix, such as l1_reverse, one truth a sequence.
    """
    runs = [_StackRun(module, sequence.to(dtype)) for sequence in sequences]
    for number, run in enumerate(runs):
        cells = None if cell is None else cell[:, number].to(dtype)
        own = [mask[: len(run.inputs), number].to(dtype) for mask in masks or []]
        run.forward(hidden[:, number].to(dtype), cells, own)
    loss([run.output for run in runs], [run.h_n for run in runs], [run.c_n for run in runs]).backward()
    return {suffix: [run.truth(suffix) for run in runs] for suffix in runs[0].kept}


class _StackRun:
    def __init__(self, module: nn.RNNBase, inputs: Tensor) -> None:
        self.module, self.inputs = module, inputs
        self.kept: dict[str, dict[str, list]] = {}

    def forward(self, hidden: Tensor, cell: Tensor | None, masks: list[Tensor]) -> None:
        below, directions, h_n, c_n = self.inputs, 2 if self.module.bidirectional else 1, [], []
        for layer in range(self.module.num_layers):
            outputs = []
            for direction in range(directions):
                row = layer * directions + direction
                first = hidden[row], None if cell is None else cell[row]
                output, last_h, last_c = self._direction(f"l{layer}" + "_reverse" * direction, below, *first)
                outputs.append(output)
                h_n.append(last_h)
                c_n.append(last_c)
            below = torch.cat(outputs, -1)
            if masks and layer < self.module.num_layers - 1:
                below = below * masks[layer]
        self.output, self.h_n = below, torch.stack(h_n)
        self.c_n = torch.stack(c_n) if cell is not None else self.h_n

    def _direction(self, suffix: str, below: Tensor, h: Tensor, c: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        def weight(name: str) -> Tensor:
            found = getattr(self.module, f"{name}_{suffix}", None)
            return torch.zeros(()) if found is None else found.detach().to(self.inputs.dtype)

        kept = self.kept[suffix] = {name: [] for name in ("h", "outside", "c", "copy", "gates")}
        positions = list(range(len(below)))
        outputs: dict[int, Tensor] = {}
        for t in reversed(positions) if suffix.endswith("reverse") else positions:
            copy = weight("weight_hh").requires_grad_()
            from_input = below[t] @ weight("weight_ih").T + weight("bias_ih")
            before, c, gates = _STEPS[self.module.mode](from_input, h @ copy.T + weight("bias_hh"), h, c)
            h = _keep(before @ weight("weight_hr").T if self.module.proj_size else before * 1.0)
            outside = _keep(h * 1.0)  # what layers above and the loss see
            outputs[t] = outside
            found = {"h": h, "outside": outside, "c": None if c is None else _keep(c), "copy": copy, "gates": gates}
            for name, value in found.items():
                kept[name].append(value)
        if suffix.endswith("reverse"):
            self.kept[suffix] = {name: values[::-1] for name, values in kept.items()}
        # h_n is the last state itself, and counts as seen from outside.
        return torch.stack([outputs[t] for t in positions]), outputs[t], outputs[t] if c is None else c

    def truth(self, suffix: str) -> SequenceTruth:
        kept = self.kept[suffix]
        cells = kept["c"][0] is not None
        return SequenceTruth(
            hidden=torch.stack(kept["h"]).detach(),
            total_gradient=torch.stack([_gradient(h) for h in kept["h"]]),
            direct_gradient=torch.stack([_gradient(outside) for outside in kept["outside"]]),
            weight_gradients=torch.stack([_gradient(copy) for copy in kept["copy"]]),
            cell=torch.stack(kept["c"]).detach() if cells else None,
            cell_gradient=torch.stack([_gradient(c) for c in kept["c"]]) if cells else None,
            gates={name: torch.stack([g[name] for g in kept["gates"]]).detach() for name in kept["gates"][0]},
        )

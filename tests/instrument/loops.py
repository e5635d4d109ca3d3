"""Loops over cells as users write them, run with PyTorch's cells or with equations written out in any dtype."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from gradscope.runs import open_run
from tests.strategies import KINDS

State = Tensor | tuple[Tensor, Tensor]


def make_cell(kind: str, inputs: int, hidden: int, *, bias: bool = True) -> nn.RNNCellBase:
    """Build the cell that gradscope calls `kind`."""
    if kind.startswith("rnn_"):
        return nn.RNNCell(inputs, hidden, bias=bias, nonlinearity=kind.removeprefix("rnn_"))
    return {"gru": nn.GRUCell, "lstm": nn.LSTMCell}[kind](inputs, hidden, bias=bias)


def float64_cell(kind: str = "gru", hidden: int = 5) -> nn.RNNCellBase:
    """Build a cell of three inputs, always the same."""
    torch.manual_seed(0)
    return make_cell(kind, 3, hidden).double()


def inputs_of(time: int, batch: int = 4, seed: int = 0) -> Tensor:
    """Return x_t of `float64_cell`, (time, batch, 3)."""
    return torch.randn((time, batch, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def calls_of(run: Path, layer: str) -> dict[int, int]:
    """Return how many times each call of a layer has in a run."""
    table = open_run(run).timesteps
    return table[table["layer"] == layer].groupby("call")["time"].count().to_dict()


def gradients_of(states: list[Tensor]) -> Tensor:
    """Return what autograd left at each state, zero where nothing arrived."""
    return torch.stack([torch.zeros_like(state) if state.grad is None else state.grad for state in states])


@dataclass(frozen=True)
class Loop:
    """A stack of cells in one loop, and what such loops do.

    Attributes:
        detach_every: after how many times the state is detached; 0 for never.
        feedback: whether the output of one time is added to the input of the next.
        attention: whether inputs also attend to all past outputs.
    """

    kind: str
    layers: int
    time: int
    batch: int
    inputs: int
    hidden: int
    dtype: torch.dtype
    batched: bool
    bias: bool
    initial: bool
    detach_every: int
    feedback: bool
    attention: bool
    loss: str
    seed: int

    def model(self) -> nn.ModuleList:
        """Return the cells, with weights that make all nonlinearities work."""
        torch.manual_seed(self.seed)
        sizes = [self.inputs, *[self.hidden] * (self.layers - 1)]
        cells = nn.ModuleList([make_cell(self.kind, size, self.hidden, bias=self.bias) for size in sizes])
        with torch.no_grad():
            for parameter in cells.parameters():
                parameter.mul_(1.5)
        return cells.to(self.dtype)

    def data(self, dtype: torch.dtype, seed: int = 0) -> tuple[Tensor, list[list[Tensor]] | None]:
        """Return inputs (time, batch, input), and h_0 (and c_0) of each layer or None."""
        generator = torch.Generator().manual_seed(self.seed + seed)
        leading = (self.batch,) if self.batched else ()
        drawn = torch.randn((self.time, *leading, self.inputs), generator=generator).to(dtype)
        parts = 2 if self.kind == "lstm" else 1
        if not self.initial:
            return drawn, None
        return drawn, [
            [torch.randn((*leading, self.hidden), generator=generator).to(dtype) for _ in range(parts)]
            for _ in range(self.layers)
        ]

    def run(
        self,
        step: Callable[[int, Tensor, State | None], tuple[State, Tensor]],
        inputs: Tensor,
        initial: list[list[Tensor]] | None,
    ) -> Tensor:
        """Go through the loop; return the loss.

        Args:
            step: (layer, input, state or None) -> (state, output).
            inputs: from `data`.
            initial: from `data`.
        """
        states: list[State | None] = [None] * self.layers
        if initial is not None:
            states = [parts[0] if len(parts) == 1 else (parts[0], parts[1]) for parts in initial]
        outputs: list[Tensor] = []
        for time, x in enumerate(inputs):
            if self.feedback and outputs:
                x = x + torch.tanh(outputs[-1].sum(-1, keepdim=True))
            if self.attention and outputs:
                past = torch.stack(outputs)
                shares = torch.softmax((past * past[-1]).sum(-1, keepdim=True), 0)
                x = x + (shares * past).sum(0).mean(-1, keepdim=True)
            if self.detach_every and time and time % self.detach_every == 0:
                states = [_detached(state) for state in states]
            for layer in range(self.layers):
                states[layer], x = step(layer, x, states[layer])
            outputs.append(x)
        return self.loss_of(torch.stack(outputs))

    def loss_of(self, outputs: Tensor) -> Tensor:
        """Return the loss of the last layer's outputs."""
        weights = torch.linspace(-1, 1, self.hidden, dtype=outputs.dtype)
        if self.loss == "last time":
            return (outputs[-1] * weights).square().sum()
        if self.loss == "middle":
            return (outputs[len(outputs) // 2] * weights).sum()
        return (outputs * weights).square().sum()

    def step_of(self, cells: nn.ModuleList) -> Callable[[int, Tensor, State | None], tuple[State, Tensor]]:
        """Return the step that calls PyTorch's cells, as a user would."""

        def step(layer: int, x: Tensor, state: State | None) -> tuple[State, Tensor]:
            state = cells[layer](x) if state is None else cells[layer](x, state)
            return state, state[0] if isinstance(state, tuple) else state

        return step


def _detached(state: State | None) -> State | None:
    if state is None:
        return None
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


@dataclass
class LayerTruth:
    """What autograd itself says of one layer, one entry a time."""

    hidden: list[Tensor] = field(default_factory=list)
    outside: list[Tensor] = field(default_factory=list)
    cells: list[Tensor] = field(default_factory=list)
    weights: list[Tensor] = field(default_factory=list)
    gates: list[dict[str, Tensor]] = field(default_factory=list)

    @property
    def total_gradient(self) -> Tensor:
        """(time, batch, hidden)."""
        return _gradients(self.hidden)

    @property
    def direct_gradient(self) -> Tensor:
        """Gradient of the copy that everything but the recurrence sees."""
        return _gradients(self.outside)

    @property
    def cell_gradient(self) -> Tensor:
        """(time, batch, hidden)."""
        return _gradients(self.cells)

    @property
    def weight_gradient_norm(self) -> Tensor:
        """(time,), from a copy of the weight for each time."""
        return _gradients(self.weights).flatten(1).norm(dim=1)


def _gradients(tensors: list[Tensor]) -> Tensor:
    found = torch.stack([torch.zeros_like(t) if t.grad is None else t.grad for t in tensors])
    return found.unsqueeze(1) if found.dim() == 2 else found


def oracle(loop: Loop, cells: nn.ModuleList, dtype: torch.dtype = torch.float64) -> list[LayerTruth]:
    """Run the loop with the equations of PyTorch's documentation; the loss is sent back."""
    truths = [LayerTruth() for _ in cells]

    def step(layer: int, x: Tensor, state: State | None) -> tuple[State, Tensor]:
        named = {name: weight.detach().to(dtype) for name, weight in cells[layer].named_parameters()}
        truth, weight = truths[layer], named["weight_hh"].clone().requires_grad_()
        if state is None:
            zero = torch.zeros((*x.shape[:-1], loop.hidden), dtype=dtype)
            state = (zero, zero) if loop.kind == "lstm" else zero
        before = state[0] if isinstance(state, tuple) else state
        from_input = x @ named["weight_ih"].T + named.get("bias_ih", 0)
        from_state = before @ weight.T + named.get("bias_hh", 0)
        hidden, cell, gates = _EQUATIONS[loop.kind](from_input, from_state, state)
        hidden.retain_grad()
        outside = hidden * 1.0
        outside.retain_grad()
        truth.hidden.append(hidden)
        truth.outside.append(outside)
        truth.weights.append(weight)
        truth.gates.append(gates)
        if cell is None:
            return hidden, outside
        cell.retain_grad()
        truth.cells.append(cell)
        return (hidden, cell), outside

    loop.run(step, *loop.data(dtype)).backward()
    return truths


def _elman(nonlinearity: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Tensor, None, dict[str, Tensor]]]:
    return lambda from_input, from_state, _: (nonlinearity(from_input + from_state), None, {})


def _gru(from_input: Tensor, from_state: Tensor, state: Tensor) -> tuple[Tensor, None, dict[str, Tensor]]:
    (ir, iz, i_n), (hr, hz, hn) = from_input.chunk(3, -1), from_state.chunk(3, -1)
    reset, update = torch.sigmoid(ir + hr), torch.sigmoid(iz + hz)
    return (1 - update) * torch.tanh(i_n + reset * hn) + update * state, None, {"reset": reset, "update": update}


def _lstm(
    from_input: Tensor, from_state: Tensor, state: tuple[Tensor, Tensor]
) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
    i, f, g, o = (from_input + from_state).chunk(4, -1)
    i, f, o = torch.sigmoid(i), torch.sigmoid(f), torch.sigmoid(o)
    cell = f * state[1] + i * torch.tanh(g)
    return o * torch.tanh(cell), cell, {"input": i, "forget": f, "output": o}


_EQUATIONS = {"rnn_tanh": _elman(torch.tanh), "rnn_relu": _elman(torch.relu), "gru": _gru, "lstm": _lstm}


@st.composite
def loops(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)) -> Loop:
    """Draw a loop."""
    batched = draw(st.booleans())
    return Loop(
        kind=draw(st.sampled_from(KINDS)),
        layers=draw(st.integers(1, 3)),
        time=draw(st.integers(1, 12)),
        batch=draw(st.integers(1, 5)) if batched else 1,
        inputs=draw(st.integers(1, 4)),
        hidden=draw(st.integers(1, 8)),
        dtype=draw(st.sampled_from(dtypes)),
        batched=batched,
        bias=draw(st.booleans()),
        initial=draw(st.booleans()),
        detach_every=draw(st.sampled_from((0, 0, 1, 3))),
        feedback=draw(st.booleans()),
        attention=draw(st.booleans()),
        loss=draw(st.sampled_from(("last time", "middle", "all times"))),
        seed=draw(st.integers(0, 2**31)),
    )

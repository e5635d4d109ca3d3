"""What hypothesis draws: recurrent layers, batches and losses of every supported form."""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.oracles import Loss

KINDS = ("rnn_tanh", "rnn_relu", "gru", "lstm")


def make_layer(kind: str, inputs: int, hidden: int, **options: object) -> nn.RNNBase:
    """Build the module that gradscope calls `kind`."""
    if kind.startswith("rnn_"):
        return nn.RNN(inputs, hidden, nonlinearity=kind.removeprefix("rnn_"), **options)
    return {"gru": nn.GRU, "lstm": nn.LSTM}[kind](inputs, hidden, **options)


def _weighted(shape: tuple[int, ...], generator: torch.Generator, like: Tensor) -> Tensor:
    return torch.randn(shape, generator=generator, dtype=torch.float64).to(like.dtype)


def _last_time(sequence: Tensor, h_n: Tensor, c_n: Tensor | None, g: torch.Generator) -> Tensor:
    return (sequence[-1] * _weighted(sequence[-1].shape, g, sequence)).sum()


def _all_times(sequence: Tensor, h_n: Tensor, c_n: Tensor | None, g: torch.Generator) -> Tensor:
    return (sequence * _weighted(sequence.shape, g, sequence)).square().sum()


def _middle(sequence: Tensor, h_n: Tensor, c_n: Tensor | None, g: torch.Generator) -> Tensor:
    return (sequence[: len(sequence) // 2 + 1] * _weighted((sequence.shape[-1],), g, sequence)).sum()


def _final_state(sequence: Tensor, h_n: Tensor, c_n: Tensor | None, g: torch.Generator) -> Tensor:
    return (h_n * _weighted(h_n.shape, g, h_n)).sum()


def _final_cell(sequence: Tensor, h_n: Tensor, c_n: Tensor | None, g: torch.Generator) -> Tensor:
    state = h_n if c_n is None else c_n
    return (state * _weighted(state.shape, g, state)).square().sum()


def _arbitrary(sequence: Tensor, h_n: Tensor, c_n: Tensor | None, g: torch.Generator) -> Tensor:
    mix = _weighted((sequence.shape[-1], 3), g, sequence)
    value = torch.sin(sequence @ mix).sum() + (h_n @ mix).square().sum() + (sequence[0] * sequence[-1]).sum()
    return value if c_n is None else value + torch.tanh(c_n @ mix).sum() * sequence.mean()


LOSSES = {
    "last time": _last_time,
    "all times": _all_times,
    "first half": _middle,
    "h_n": _final_state,
    "c_n": _final_cell,
    "arbitrary": _arbitrary,
}


@dataclass(frozen=True)
class Case:
    """One layer, one batch, one loss."""

    kind: str
    time: int
    batch: int
    inputs: int
    hidden: int
    dtype: torch.dtype
    layout: str
    bias: bool
    initial: bool
    loss_name: str
    seed: int

    @property
    def module(self) -> nn.RNNBase:
        """The layer, with weights somewhat larger than PyTorch's own, so that all nonlinearities are at work."""
        torch.manual_seed(self.seed)
        layer = make_layer(
            self.kind, self.inputs, self.hidden, bias=self.bias, batch_first=self.layout == "batch first"
        )
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1.5)
        return layer.to(self.dtype)

    def batch_of_data(self) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return inputs (time, batch, input), h_0 and c_0 (batch, hidden)."""
        generator = torch.Generator().manual_seed(self.seed)
        inputs = torch.randn(self.time, self.batch, self.inputs, generator=generator).to(self.dtype)
        states = [torch.zeros(self.batch, self.hidden, dtype=self.dtype) for _ in range(2)]
        if self.initial:
            states = [torch.randn(self.batch, self.hidden, generator=generator).to(self.dtype) for _ in range(2)]
        return inputs, states[0], states[1] if self.kind == "lstm" else None

    @property
    def loss(self) -> Loss:
        """The loss, the same numbers in any dtype."""

        def value(sequence: Tensor, h_n: Tensor, c_n: Tensor | None) -> Tensor:
            return LOSSES[self.loss_name](sequence, h_n, c_n, torch.Generator().manual_seed(self.seed + 1))

        return value

    def run(self, module: nn.RNNBase) -> Tensor:
        """Call the module in the case's layout, and return the loss."""
        inputs, h_0, c_0 = self.batch_of_data()
        states = [h_0] if c_0 is None else [h_0, c_0]
        if self.layout == "unbatched":
            inputs = inputs[:, 0]
        else:
            states = [state.unsqueeze(0) for state in states]
            inputs = inputs.transpose(0, 1) if self.layout == "batch first" else inputs
        initial = (tuple(states) if c_0 is not None else states[0],) if self.initial else ()
        sequence, final = module(inputs, *initial)
        finals = final if isinstance(final, tuple) else (final, None)
        h_n, c_n = (None if state is None else state.reshape(self.batch, self.hidden) for state in finals)
        if self.layout == "unbatched":
            sequence = sequence.unsqueeze(1)
        return self.loss(sequence.transpose(0, 1) if self.layout == "batch first" else sequence, h_n, c_n)


@st.composite
def cases(draw: st.DrawFn, dtypes: tuple[torch.dtype, ...] = (torch.float32, torch.float64)) -> Case:
    """Draw a layer with its batch and loss."""
    layout = draw(st.sampled_from(("time first", "batch first", "unbatched")))
    return Case(
        kind=draw(st.sampled_from(KINDS)),
        time=draw(st.integers(1, 14)),
        batch=1 if layout == "unbatched" else draw(st.integers(1, 6)),
        inputs=draw(st.integers(1, 5)),
        hidden=draw(st.integers(1, 9)),
        dtype=draw(st.sampled_from(dtypes)),
        layout=layout,
        bias=draw(st.booleans()),
        initial=draw(st.booleans()),
        loss_name=draw(st.sampled_from(sorted(LOSSES))),
        seed=draw(st.integers(0, 2**31)),
    )

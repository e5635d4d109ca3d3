"""A small training for every kind of thing that is watched."""

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn

import gradscope
from tests.instrument.conftest import Forecaster
from tests.strategies import make_layer

Tap = Callable[[str, Tensor], Tensor]


class Loop(nn.Module):
    """A loop over a cell."""

    def __init__(self, cell: nn.Module) -> None:
        super().__init__()
        self.cell, self.head = cell, nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict one number a sequence."""
        state = None
        for x in inputs.unbind(1):
            state = self.cell(x, state)
        return self.head(state[0] if isinstance(state, tuple) else state)


class Stepped(nn.Module):
    """A loop that gives a stack one time after the other, as decoders do."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer, self.head = layer, nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict one number a sequence."""
        state = None
        for x in inputs.split(1, 1):
            output, state = self.layer(x, state)
        return self.head(output[:, 0])


class OwnCell(nn.Module):
    """A cell that nobody knows unless it is registered."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(11, 8)

    def forward(self, x: Tensor, h: Tensor | None) -> Tensor:
        """Return h."""
        return torch.tanh(self.mix(torch.cat([x, x.new_zeros(len(x), 8) if h is None else h], 1)))


def own_step(cell: OwnCell, x: Tensor, h: Tensor) -> Tensor:
    """Return what `OwnCell` does."""
    return torch.tanh(nn.functional.linear(torch.cat([x, h], 1), cell.mix.weight, cell.mix.bias))


class Raw(nn.Module):
    """A loop of plain tensors, which says itself what its state is."""

    def __init__(self) -> None:
        super().__init__()
        self.mix, self.head = nn.Linear(11, 8), nn.Linear(8, 1)
        self.tap: Tap = lambda _, tensor: tensor

    def forward(self, inputs: Tensor) -> Tensor:
        """Predict one number a sequence."""
        h = inputs.new_zeros(len(inputs), 8)
        for x in inputs.unbind(1):
            h = self.tap("raw", torch.tanh(self.mix(torch.cat([x, h], 1))))
        return self.head(h)


def _stack() -> nn.Module:
    model = Forecaster(make_layer("lstm", 3, 8, batch_first=True, num_layers=2, bidirectional=True, dropout=0.2))
    model.head = nn.Linear(16, 1)
    return model


def _weight_norm_cell() -> nn.Module:
    return Loop(nn.utils.parametrizations.weight_norm(nn.GRUCell(3, 8), "weight_hh"))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "lstm": lambda: Forecaster(make_layer("lstm", 3, 8, batch_first=True)),
    "gru": lambda: Forecaster(make_layer("gru", 3, 8, batch_first=True)),
    "stack": _stack,
    "decoder": lambda: Stepped(nn.LSTM(3, 8, num_layers=2, dropout=0.2, batch_first=True)),
    "cells": lambda: Loop(nn.LSTMCell(3, 8)),
    "parametrized cells": _weight_norm_cell,
    "registered cells": lambda: Loop(OwnCell()),
    "taps": Raw,
}


class Training:
    """One of them; the same at every construction."""

    def __init__(self, kind: str) -> None:
        torch.manual_seed(0)
        self.model = MODELS[kind]()
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=0.01)
        self.batches = torch.Generator().manual_seed(1)

    def watch(self, **options: object) -> gradscope.Recorder:
        """Return a recorder of it, tapped where the model taps."""
        recorder = gradscope.watch(self.model, self.optimizer, schedule=1, **options)
        if isinstance(self.model, Raw):
            self.model.tap = recorder.tap
        return recorder

    def iteration(self, recorder: gradscope.Recorder | None = None) -> Tensor:
        """Train once."""
        self.optimizer.zero_grad()
        loss = self.model(torch.randn((4, 7, 3), generator=self.batches)).square().mean()
        loss.backward()
        if recorder is not None:
            recorder.log(loss=loss)
        self.optimizer.step()
        return loss

    def run(self, watched: bool = True, iterations: int = 4, **options: object) -> list[Tensor]:
        """Train, and return all that watching could have changed."""
        torch.manual_seed(2)
        with self.watch(**options) if watched else nullcontext() as recorder:
            losses = [self.iteration(recorder).detach() for _ in range(iterations)]
        return [*losses, *(p.detach() for p in self.model.parameters()), torch.get_rng_state()]

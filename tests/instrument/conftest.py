"""Small models in training, and a check that gradscope leaves nothing behind."""

import gc
from collections.abc import Iterator

import pytest
from torch import Tensor, nn

from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.parameters import ParameterWatch


def _alive() -> list[object]:
    return [thing for thing in gc.get_objects() if type(thing) in (InertWhenCopied, ParameterWatch)]


@pytest.fixture(autouse=True)
def _no_hook_survives() -> Iterator[None]:
    """After every test no hook of ours exists any more, on anything."""
    yield
    if _alive():  # A collection costs more than most tests.
        gc.collect()
    assert _alive() == []


class Forecaster(nn.Module):
    """A recurrent layer and a linear head on its last output."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.encoder = layer
        self.head = nn.Linear(layer.hidden_size, 1)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Tensor:
        sequence, _ = self.encoder(inputs, state)
        return self.head(sequence[:, -1] if self.encoder.batch_first else sequence[-1])

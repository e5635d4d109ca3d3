"""Small models in training, and a check that gradscope leaves nothing behind."""

import gc
import weakref
from collections.abc import Callable, Iterator

import pytest
from torch import Tensor, nn

from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.parameters import ParameterWatch


@pytest.fixture(autouse=True)
def _no_hook_survives(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """After every test no hook of ours exists any more, on anything."""
    alive: weakref.WeakSet[object] = weakref.WeakSet()
    for kind in (InertWhenCopied, ParameterWatch):

        def noted(self: object, *args: object, _init: Callable[..., None] = kind.__init__, **options: object) -> None:
            alive.add(self)
            _init(self, *args, **options)

        monkeypatch.setattr(kind, "__init__", noted)
    yield
    if len(alive):  # A collection costs more than most tests.
        gc.collect()
    assert list(alive) == []


class Forecaster(nn.Module):
    """A recurrent layer and a linear head on its last output."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.encoder = layer
        self.head = nn.Linear(layer.hidden_size, 1)

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> Tensor:
        """Predict one number a sequence."""
        sequence, _ = self.encoder(inputs, state)
        return self.head(sequence[:, -1] if self.encoder.batch_first else sequence[-1])

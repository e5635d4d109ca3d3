"""One small real training, watched or not."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import gradscope
from tests.instrument.conftest import Forecaster
from tests.strategies import make_layer

Clip = Callable[[nn.Module], object]


def norm_clipping(model: nn.Module) -> object:
    """Clip the norm of the whole gradient to 0.1."""
    return torch.nn.utils.clip_grad_norm_(model.parameters(), 0.1)


def value_clipping(model: nn.Module) -> object:
    """Clip every entry of the gradient to 0.01."""
    return torch.nn.utils.clip_grad_value_(model.parameters(), 0.01)


def make_model(kind: str, *, dtype: torch.dtype = torch.float32, batch_first: bool = True, seed: int = 0) -> Forecaster:
    """Build the same model for the same seed."""
    torch.manual_seed(seed)
    return Forecaster(make_layer(kind, 3, 8, batch_first=batch_first)).to(dtype)


def train(
    model: nn.Module,
    *,
    iterations: int = 20,
    clip: Clip | None = norm_clipping,
    optimizer: type[torch.optim.Optimizer] = torch.optim.Adam,
    watched: bool = True,
    run: Path | None = None,
    **options: Any,
) -> tuple[list[Tensor], gradscope.Recorder | None]:
    """Train on random batches; return everything that watching could have changed, and the recorder."""
    batch_first = model.encoder.batch_first
    dtype = next(model.parameters()).dtype
    made = optimizer(model.parameters(), lr=0.01)
    watching = gradscope.watch(model, made, run=run, **options) if watched else contextlib.nullcontext()
    losses = []
    torch.manual_seed(1)
    with watching as recorder:
        for _ in range(iterations):
            inputs = torch.randn((4, 12, 3) if batch_first else (12, 4, 3), dtype=dtype)
            made.zero_grad()
            loss = (model(inputs) - inputs.mean()).square().mean()
            loss.backward()
            if clip is not None:
                clip(model)
            if recorder is not None:
                recorder.log(loss=loss)
            made.step()
            losses.append(loss.detach())
    state = [value for group in made.state.values() for value in group.values() if isinstance(value, Tensor)]
    gradients = [p.grad for p in model.parameters()]
    return [*losses, *model.state_dict().values(), *gradients, *state, torch.get_rng_state()], recorder


def assert_identical(left: list[Tensor], right: list[Tensor]) -> None:
    """Every tensor equals its partner bit for bit."""
    assert len(left) == len(right)
    assert [torch.equal(a, b) for a, b in zip(left, right, strict=True)] == [True] * len(left)

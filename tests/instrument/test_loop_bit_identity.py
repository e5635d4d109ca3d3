"""Watching a loop over cells changes nothing: parameters, losses, gradients and random numbers, bit for bit."""

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import gradscope
from gradscope.cells import step_functions
from gradscope.cells.step_functions import register_cell
from tests.examples import examples
from tests.instrument.loops import Loop, loops
from tests.instrument.training import assert_identical

SCHEDULES = (1, 3, gradscope.At([0, 4, 5]), gradscope.Budget(0.5))


class Dropping(nn.Module):
    """A cell of one's own with a dropout inside, whose step function knows nothing of it."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.inner = nn.GRUCell(inputs, hidden)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Return the next state."""
        return nn.functional.dropout(self.inner(x, state), 0.1, self.training)


class Normalised(nn.Module):
    """A cell of one's own with running statistics, which a call in training mode changes."""

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.inner, self.norm = nn.GRUCell(inputs, hidden), nn.BatchNorm1d(hidden)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        """Return the next state."""
        return torch.tanh(self.norm(self.inner(x, state)))


def _train(loop: Loop, *, watched: bool, windows: bool = False, **options: Any) -> list[Tensor]:
    cells = loop.model()
    optimizer = torch.optim.Adam(cells.parameters(), lr=0.01)
    watching = gradscope.watch(cells, optimizer, **options) if watched else contextlib.nullcontext()
    losses = []
    torch.manual_seed(1)
    with watching as recorder:
        for iteration in range(20):
            inputs, initial = loop.data(loop.dtype, iteration)
            optimizer.zero_grad()
            inputs = nn.functional.dropout(inputs, 0.2)
            for window in inputs.split(3) if windows else (inputs,):
                loss = loop.run(loop.step_of(cells), window, initial)
                loss.backward()
            nn.utils.clip_grad_norm_(cells.parameters(), 0.1)
            if recorder is not None:
                recorder.log(loss=loss)
            optimizer.step()
            losses.append(loss.detach())
    gradients = [p.grad for p in cells.parameters() if p.grad is not None]
    return [*losses, *cells.state_dict().values(), *gradients, torch.get_rng_state()]


@examples(25)
@given(
    loop=loops(dtypes=(torch.float32, torch.float64, torch.bfloat16)),
    schedule=st.sampled_from(SCHEDULES),
    keep=st.sampled_from(("norms", "states", "full")),
    windows=st.booleans(),
)
def test_every_loop_schedule_and_keep(loop: Loop, schedule: object, keep: str, windows: bool) -> None:
    """Twenty watched iterations equal twenty unwatched ones, in one backward pass each or in several."""
    expected = _train(loop, watched=False, windows=windows)
    with tempfile.TemporaryDirectory() as folder:
        got = _train(loop, watched=True, windows=windows, schedule=schedule, keep=keep, run=Path(folder, "run"))
    assert_identical(got, expected)


def _train_own(cell_class: type[nn.Module], *, watched: bool) -> list[Tensor]:
    torch.manual_seed(0)
    cell = cell_class(3, 6)
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    watching = gradscope.watch(cell, optimizer, schedule=1) if watched else contextlib.nullcontext()
    with watching:
        for _ in range(20):
            optimizer.zero_grad()
            state = torch.zeros(4, 6)
            for x in torch.randn(7, 4, 3):
                state = cell(x, state)
            state.square().sum().backward()
            optimizer.step()
    return [*cell.state_dict().values(), torch.get_rng_state()]


def test_cells_of_ones_own_with_random_numbers_and_buffers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Working out the direct gradient calls a step function again: no random number is drawn, no buffer changed."""
    monkeypatch.setattr(step_functions, "_STEP_FUNCTIONS", dict(step_functions._STEP_FUNCTIONS))
    for cell_class in (Dropping, Normalised):
        register_cell(cell_class, lambda cell, x, state: cell(x, state))
        assert_identical(_train_own(cell_class, watched=True), _train_own(cell_class, watched=False))


class _Spectral(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.utils.parametrizations.spectral_norm(nn.RNNCell(3, 6), "weight_hh")


def test_parametrized_weights_are_read_without_touching_them() -> None:
    """A spectral norm turns its vectors at every reading of the weight: watching reads none."""

    def train(*, watched: bool) -> list[Tensor]:
        torch.manual_seed(0)
        model = _Spectral()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        watching = gradscope.watch(model, optimizer, schedule=1) if watched else contextlib.nullcontext()
        with watching:
            for _ in range(20):
                optimizer.zero_grad()
                state = torch.zeros(4, 6)
                for x in torch.randn(7, 4, 3):
                    state = model.cell(x, state)
                state.square().sum().backward()
                optimizer.step()
        return list(model.state_dict().values())

    assert_identical(train(watched=True), train(watched=False))

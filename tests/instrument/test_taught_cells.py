"""Cells of one's own in a loop: registered, derived, with cells inside, with step functions that are wrong."""

import pytest
import torch
from torch import Tensor, nn

import gradscope
from gradscope.cells import step_functions
from gradscope.cells.step_functions import register_cell

Pair = tuple[Tensor, Tensor]


@pytest.fixture(autouse=True)
def _own_registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a test registers is forgotten."""
    monkeypatch.setattr(step_functions, "_STEP_FUNCTIONS", dict(step_functions._STEP_FUNCTIONS))


class Peephole(nn.Module):
    """An LSTM whose gates also see the cell; its h is computed from its c."""

    def __init__(self, inputs: int, hidden: int, *, copied: bool = False) -> None:
        super().__init__()
        self.gates = nn.Linear(inputs + 2 * hidden, 4 * hidden)
        self.copied = copied

    def forward(self, x: Tensor, state: Pair) -> Pair:
        """Return (h, c)."""
        i, f, g, o = self.gates(torch.cat([x, *state], -1)).chunk(4, -1)
        c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        return h, c * 1 if self.copied else c


def peephole_step(cell: Peephole, x: Tensor, state: Pair) -> Pair:
    """Return what `Peephole` does, from its weights."""
    i, f, g, o = nn.functional.linear(torch.cat([x, *state], -1), cell.gates.weight, cell.gates.bias).chunk(4, -1)
    c = torch.sigmoid(f) * state[1] + torch.sigmoid(i) * torch.tanh(g)
    return torch.sigmoid(o) * torch.tanh(c), c


class MinimalGRU(nn.Module):
    """One gate, one state; the state comes first as a keyword."""

    def __init__(self, inputs: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.to_gate, self.to_candidate = nn.Linear(inputs, hidden), nn.Linear(inputs + hidden, hidden)
        self.input_size, self.hidden_size, self.dropout = inputs, hidden, dropout

    def forward(self, x: Tensor, previous: Tensor) -> Tensor:
        """Return h."""
        gate, candidate = torch.sigmoid(self.to_gate(x)), torch.tanh(self.to_candidate(torch.cat([x, previous], -1)))
        return nn.functional.dropout((1 - gate) * previous + gate * candidate, self.dropout)


def minimal_step(cell: MinimalGRU, x: Tensor, h: Tensor) -> Tensor:
    """Return what `MinimalGRU` does without dropout."""
    gate, candidate = torch.sigmoid(cell.to_gate(x)), torch.tanh(cell.to_candidate(torch.cat([x, h], -1)))
    return (1 - gate) * h + gate * candidate


def _inputs(time: int = 7) -> Tensor:
    return torch.randn((time, 4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _zeros() -> Tensor:
    return torch.zeros((4, 5), dtype=torch.float64)


def _peephole_truth(cell: Peephole) -> tuple[Tensor, Tensor, Tensor]:
    """Total gradient of h and c, and the direct one of h: the recurrence sees h, everything else a copy of it."""
    state, kept, outside, cells = (_zeros(), _zeros()), [], [], []
    for x in _inputs():
        state = peephole_step(cell, x, state)
        outside.append(state[0] * 1)
        kept.append(state[0])
        cells.append(state[1])
        for tensor in (outside[-1], *state):
            tensor.retain_grad()
    _peephole_loss(outside, cells).backward()
    return tuple(
        torch.stack([torch.zeros_like(t) if t.grad is None else t.grad for t in tensors])
        for tensors in (kept, cells, outside)
    )


def _peephole_loss(hidden: list[Tensor], cells: list[Tensor]) -> Tensor:
    return hidden[-1].square().sum() + hidden[3].sum() + cells[4].square().sum()


def _watch_peephole(cell: Peephole) -> gradscope.Trajectory:
    with gradscope.watch(cell, schedule=1) as recorder:
        state, hidden, cells = (_zeros(), _zeros()), [], []
        for x in _inputs():
            state = cell(x, state)
            hidden.append(state[0])
            cells.append(state[1])
        _peephole_loss(hidden, cells).backward()
        return recorder.latest["Peephole"]


def _peephole(*, copied: bool = False) -> Peephole:
    torch.manual_seed(0)
    return Peephole(3, 5, copied=copied).double()


def test_a_registered_cell_with_two_parts_of_state() -> None:
    """Total and direct gradients equal the loop written out, though most of dL/dc comes through h."""
    register_cell(Peephole, peephole_step)
    cell = _peephole()
    trajectory, (total, of_cell, direct) = _watch_peephole(cell), _peephole_truth(cell)
    torch.testing.assert_close(trajectory.total_gradient, total, rtol=1e-12, atol=0)
    torch.testing.assert_close(trajectory.cell_gradient, of_cell, rtol=1e-12, atol=0)
    torch.testing.assert_close(trajectory.direct_gradient, direct, rtol=1e-12, atol=1e-15)
    assert trajectory.weight_gradient_norm.isnan().all()
    assert trajectory.saturation.isnan().all()


def test_a_copy_of_the_cell_state_is_told_apart() -> None:
    """Where the cell returns a copy of c its gradient lacks what comes through h: nothing is counted twice."""
    register_cell(Peephole, lambda cell, x, state: cell(x, state))
    cell = _peephole(copied=True)
    trajectory, (total, of_cell, direct) = _watch_peephole(cell), _peephole_truth(cell)
    torch.testing.assert_close(trajectory.total_gradient, total, rtol=1e-12, atol=0)
    torch.testing.assert_close(trajectory.direct_gradient, direct, rtol=1e-12, atol=1e-15)
    assert (trajectory.cell_gradient - of_cell).abs().max() > 1e-3


def test_a_step_function_of_another_form_leaves_the_direct_gradient_open() -> None:
    """Cell and step function disagree on whether h is made from the returned c: not known is better than wrong."""
    register_cell(Peephole, peephole_step)
    cell = _peephole(copied=True)
    trajectory = _watch_peephole(cell)
    torch.testing.assert_close(trajectory.total_gradient, _peephole_truth(cell)[0], rtol=1e-12, atol=0)
    assert trajectory.direct_gradient[:-1].isnan().all()


def _watch_minimal(cell: nn.Module, name: str) -> tuple[gradscope.Trajectory, Tensor]:
    with gradscope.watch(cell, schedule=1) as recorder:
        state, kept = _zeros(), []
        for x in _inputs():
            state = cell(x, previous=state) if isinstance(cell, MinimalGRU) else cell(x, state)
            state.retain_grad()
            kept.append(state)
        state.square().sum().backward()
        return recorder.latest[name], torch.stack([state.grad for state in kept])


def test_the_state_by_keyword() -> None:
    """A state handed over under its own name is found; sizes that are attributes are described."""
    register_cell(MinimalGRU, minimal_step)
    cell = MinimalGRU(3, 5).double()
    trajectory, total = _watch_minimal(cell, "MinimalGRU")
    torch.testing.assert_close(trajectory.total_gradient, total, rtol=0, atol=0)
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 6 + [True]


def test_a_dropout_that_the_step_function_does_not_know() -> None:
    """Its states are not those of the training: totals exact, direct gradients not known, no warning."""
    register_cell(MinimalGRU, minimal_step)
    trajectory, total = _watch_minimal(MinimalGRU(3, 5, dropout=0.3).double(), "MinimalGRU")
    torch.testing.assert_close(trajectory.total_gradient, total, rtol=0, atol=0)
    assert trajectory.direct_gradient.isnan().all(2).all(1).tolist() == [True] * 6 + [False]


def test_a_step_function_that_fails_is_one_warning() -> None:
    """The total gradient is recorded all the same, in this pass and in the next."""

    def step(cell: MinimalGRU, x: Tensor, h: Tensor) -> Tensor:
        raise ZeroDivisionError("the user's own")

    register_cell(MinimalGRU, step)
    cell = MinimalGRU(3, 5).double()
    with (
        pytest.warns(UserWarning, match=r"direct gradient of MinimalGRU: .* failed. ZeroDivisionError") as caught,
        gradscope.watch(cell, schedule=1) as recorder,
    ):
        for _ in range(2):
            state = _zeros()
            for x in _inputs():
                state = cell(x, state)
            state.sum().backward()
        assert recorder.latest["MinimalGRU"].total_gradient.isfinite().all()
    assert len(caught) == 1


class _Wrapping(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.norm = nn.GRUCell(3, 5), nn.LayerNorm(5)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return self.norm(self.inner(x, state))


def test_only_the_outer_of_two_cells_is_watched() -> None:
    """A cell inside a registered one is part of it; without the registration it is watched itself."""
    model = nn.ModuleDict({"outer": _Wrapping()}).double()
    with gradscope.watch(model, schedule=1) as before:
        register_cell(_Wrapping, lambda cell, x, state: cell(x, state))
        state = _zeros()
        for x in _inputs():
            state = model["outer"](x, state)
        state.sum().backward()
        assert set(before.latest) == {"outer.inner"}
    with gradscope.watch(model, schedule=1) as recorder:
        state = _zeros()
        for x in _inputs():
            state = model["outer"](x, state)
        state.sum().backward()
        assert set(recorder.latest) == {"outer"}
        direct = recorder.latest["outer"].direct_gradient
    assert (direct.flatten(1).norm(dim=1) > 0).tolist() == [False] * 6 + [True]


class _Normed(nn.LSTMCell):
    def forward(self, x: Tensor, state: Pair) -> Pair:
        h, c = super().forward(x, state)
        return nn.functional.layer_norm(h, h.shape[-1:]), c


def test_a_subclass_with_a_forward_of_its_own() -> None:
    """It may be another cell than its base: totals exact, and what needs the equations stays open."""
    cell, kept = _Normed(3, 5).double(), []
    with gradscope.watch(cell, schedule=1) as recorder:
        state = (_zeros(), _zeros())
        for x in _inputs():
            state = cell(x, state)
            state[0].retain_grad()
            kept.append(state[0])
        state[0].square().sum().backward()
        trajectory = recorder.latest["_Normed"]
    torch.testing.assert_close(trajectory.total_gradient, torch.stack([h.grad for h in kept]), rtol=0, atol=0)
    assert trajectory.direct_gradient.isnan().all()
    assert trajectory.cell_gradient is not None


class _Spatial(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Conv2d(3, 2, 3, padding=1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        return torch.tanh(self.mix(torch.cat([x, state], 1)))


def test_states_of_more_than_one_axis() -> None:
    """A convolutional state (batch, channel, height, width) is a vector of all its entries."""
    register_cell(_Spatial, lambda cell, x, state: cell(x, state))
    cell = _Spatial()
    with gradscope.watch(cell, schedule=1) as recorder:
        state = torch.zeros(4, 2, 5, 5)
        for x in torch.randn(6, 4, 1, 5, 5):
            state = cell(x, state)
        state.sum().backward()
        trajectory = recorder.latest["_Spatial"]
    assert trajectory.hidden.shape == (6, 4, 50)
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 5 + [True]


def test_a_state_of_a_form_that_is_not_known_is_said_once() -> None:
    """A cell that returns something else than its state is one clear warning."""

    class Strange(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.GRUCell(3, 5)

        def forward(self, x: Tensor, state: Tensor) -> dict[str, Tensor]:
            return {"state": self.inner(x, state)}

    register_cell(Strange, lambda cell, x, state: cell.inner(x, state))
    cell = Strange().double()
    with (
        pytest.warns(UserWarning, match=r"through Strange: it returned a dict; what works is a Tensor") as caught,
        gradscope.watch(cell, schedule=1) as recorder,
    ):
        state = _zeros()
        for x in _inputs():
            state = cell(x, state)["state"]
        state.sum().backward()
        assert recorder.latest == {}
    assert len(caught) == 1

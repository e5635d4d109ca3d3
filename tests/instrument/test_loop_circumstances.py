"""Loops over cells under checkpointing, parametrizations and autocast, and what they leave behind."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gradscope
from gradscope.cells import step_functions
from tests.instrument.loops import float64_cell, gradients_of, inputs_of
from tests.strategies import KINDS


def test_the_loop_inside_activation_checkpointing() -> None:
    """A checkpointed loop is one sequence with the gradients of the loop without."""

    def loop(inputs: Tensor) -> Tensor:
        state = None
        for x in inputs:
            state = cell(x, state)
        return state

    cell, found = float64_cell(), []
    for use_reentrant in (None, False, True):
        with gradscope.watch(cell, schedule=1) as recorder:
            inputs = inputs_of(6).requires_grad_()
            last = loop(inputs) if use_reentrant is None else checkpoint(loop, inputs, use_reentrant=use_reentrant)
            last.square().sum().backward()
            found.append(recorder.latest["GRUCell"])
    for trajectory in found:
        torch.testing.assert_close(trajectory.total_gradient, found[0].total_gradient, rtol=0, atol=0)
        torch.testing.assert_close(trajectory.direct_gradient, found[0].direct_gradient, rtol=0, atol=0)


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_parametrized_weights(norm: str) -> None:
    """The weight that each call really used enters the numbers, also where it differs from call to call."""
    cell, states = getattr(nn.utils.parametrizations, norm)(float64_cell(), "weight_hh"), []
    weights: list[Tensor] = []
    listening = cell.parametrizations["weight_hh"].register_forward_hook(lambda *given: weights.append(given[2]))
    with gradscope.watch(cell, schedule=1) as recorder:
        state = torch.zeros((4, 5), dtype=torch.float64)
        for x in inputs_of(6):
            state = cell(x, state)
            state.retain_grad()
            states.append(state)
        state.sum().backward()
        (trajectory,) = recorder.latest.values()
    listening.remove()
    torch.testing.assert_close(trajectory.total_gradient, gradients_of(states), rtol=0, atol=0)
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 5 + [True]
    assert len(weights) == 6


def test_weights_replaced_before_each_call() -> None:
    """A weight-drop wrapper sets a plain tensor as weight_hh before every call: each time has its own."""
    cell, state = float64_cell("rnn_tanh"), None
    raw = cell.weight_hh
    del cell.weight_hh
    cell.raw = raw
    with gradscope.watch(cell, schedule=1) as recorder:
        for x in inputs_of(6):
            cell.weight_hh = nn.functional.dropout(cell.raw, 0.5)
            state = cell(x, state)
        state.sum().backward()
        (trajectory,) = recorder.latest.values()
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 5 + [True]


def _fuse_lstm_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have nn.LSTMCell make h and c in one node of the graph, as fused cells do on a GPU."""
    plain = torch._VF.lstm_cell

    class Fused(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x, h, c, *weights):
            ctx.save_for_backward(x, h, c, *weights)
            return plain(x, (h, c), *weights)

        @staticmethod
        def backward(ctx, grad_h, grad_c):
            leaves = [tensor.detach().requires_grad_() for tensor in ctx.saved_tensors]
            with torch.enable_grad():
                made = plain(leaves[0], (leaves[1], leaves[2]), *leaves[3:])
            return torch.autograd.grad(made, leaves, (grad_h, grad_c))

    monkeypatch.setattr(
        torch._VF, "lstm_cell", lambda x, state, *weights: Fused.apply(x, *state, *weights), raising=False
    )


def _trajectory_of(cell: nn.Module, initial: tuple[Tensor, Tensor] | None = None) -> gradscope.Trajectory:
    state = initial
    with gradscope.watch(cell, schedule=1) as recorder:
        for x in inputs_of(6):
            state = cell(x, state)
        (state[0].square().sum() + state[1].sum()).backward()
        (trajectory,) = recorder.latest.values()
    return trajectory


def test_two_parts_of_a_state_from_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused cells, as on a GPU, make h and c in one node: the gradients are those of PyTorch's separate operations."""
    cell = float64_cell("lstm")
    separate = _trajectory_of(cell)
    _fuse_lstm_cells(monkeypatch)
    fused = _trajectory_of(cell)
    for name in ("total_gradient", "direct_gradient", "cell_gradient", "weight_gradient_norm"):
        torch.testing.assert_close(getattr(fused, name), getattr(separate, name))


@pytest.mark.parametrize("written_out", [False, True])
def test_a_taught_cell_around_a_fused_one(written_out: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """What comes to c through h cannot be seen there, and is not left out in silence; the rest is as it was."""

    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = float64_cell("lstm")

        def forward(self, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
            h, c = self.inner(x, state)
            return h * 0.9, c

    plain = torch._VF.lstm_cell

    def step(cell: Scaled, x: Tensor, state: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        if not written_out:
            return cell(x, state)
        h, c = plain(x, state, *cell.inner.parameters())
        return h * 0.9, c

    monkeypatch.setattr(step_functions, "_STEP_FUNCTIONS", dict(step_functions._STEP_FUNCTIONS))
    gradscope.register_cell(Scaled, step)
    cell, initial = Scaled(), (torch.zeros(4, 5).double(), torch.zeros(4, 5).double())
    separate = _trajectory_of(cell, initial)
    _fuse_lstm_cells(monkeypatch)
    fused = _trajectory_of(cell, initial)
    for name in ("total_gradient", "direct_gradient", "cell"):
        torch.testing.assert_close(getattr(fused, name), getattr(separate, name))
    assert separate.cell_gradient is not None
    assert fused.cell_gradient is None


def test_autocast_and_a_scaled_loss(tmp_path: Path) -> None:
    """Under autocast a float32 cell computes in bfloat16; a scaled loss is reported unscaled."""
    torch.manual_seed(0)
    cell, norms = nn.LSTMCell(3, 5), []
    for scale in (None, 1024.0):
        scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
        with gradscope.watch(cell, schedule=1, scaler=scaler) as recorder:
            with torch.autocast("cpu", torch.bfloat16):
                state = None
                for x in inputs_of(6).float():
                    state = cell(x, state)
                loss = state[0].float().sum()
            (loss if scaler is None else scaler.scale(loss)).backward()
            norms.append(recorder.latest["LSTMCell"].total_gradient.flatten(1).norm(dim=1))
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-6, atol=0)
    assert (norms[0] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_under_autocast_no_direct_gradient_is_none(kind: str) -> None:
    """Only the last time has one; what rounding to bfloat16 leaves of a difference does not look like another."""
    cell, state = float64_cell(kind).float(), None
    with gradscope.watch(cell, schedule=1) as recorder:
        with torch.autocast("cpu", torch.bfloat16):
            for x in inputs_of(6).float():
                state = cell(x, state)
        (state[0] if kind == "lstm" else state).float().square().sum().backward()
        (trajectory,) = recorder.latest.values()
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 5 + [True]


def test_nothing_keeps_the_graph_alive_after_the_iteration() -> None:
    """When an iteration has ended its graph dies with the user's own references, though the recorder lives on."""
    cell, canary = float64_cell(), _Canary()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, schedule=1) as recorder:
        state = canary.attached_to(inputs_of(1)[0])
        for x in inputs_of(4):
            state = cell(x, state)
        state.sum().backward()
        optimizer.step()
        del state
        assert canary.dead()
        assert len(recorder.latest["GRUCell"].hidden) == 4


def test_a_loss_that_the_user_keeps_does_not_keep_the_recorder() -> None:
    """A kept graph refers to no model and no recorder once the recorder is closed and dropped."""
    cell = float64_cell()
    recorder = gradscope.watch(cell, schedule=1)
    state = None
    for x in inputs_of(4):
        state = cell(x, state)
    recorder.close()
    watched, watcher = weakref.ref(cell), weakref.ref(recorder)
    del cell, recorder, x
    gc.collect()
    assert (watched(), watcher()) == (None, None)
    state.sum().backward()


class _Canary:
    """Tells whether the graph that it was put at the root of is gone."""

    def attached_to(self, like: Tensor) -> Tensor:
        class Root(torch.autograd.Function):
            @staticmethod
            def forward(_, __):
                return like.new_zeros((len(like), 5))

            @staticmethod
            def backward(*_):
                return None

        root = Root.apply(torch.zeros((), requires_grad=True))
        self._node = weakref.ref(root.grad_fn)
        return root

    def dead(self) -> bool:
        gc.collect()
        return self._node() is None

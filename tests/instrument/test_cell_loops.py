"""Which calls of a cell are one sequence, and what of it is known: detached, changed, forked and finished states."""

import gc
import weakref
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gradscope
from tests.instrument.loops import make_cell
from tests.strategies import KINDS


def _cell(kind: str = "gru", hidden: int = 5) -> nn.RNNCellBase:
    torch.manual_seed(0)
    return make_cell(kind, 3, hidden).double()


def _inputs(time: int, batch: int = 4, seed: int = 0) -> Tensor:
    return torch.randn((time, batch, 3), generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def _calls(run: Path, layer: str) -> dict[int, int]:
    """Number of times of each call."""
    table = gradscope.open_run(run).timesteps
    return table[table["layer"] == layer].groupby("call")["time"].count().to_dict()


def _gradients(states: list[Tensor]) -> Tensor:
    return torch.stack([torch.zeros_like(state) if state.grad is None else state.grad for state in states])


def test_two_interleaved_sequences_of_one_cell(tmp_path: Path) -> None:
    """An encoder used for two texts at once: two calls, in the order in which they began, each with its own length."""
    cell = _cell()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, run=tmp_path / "run", schedule=1, keep="full"):
        left, right = cell(_inputs(1)[0]), cell(_inputs(1, seed=1)[0])
        states = [left]
        for time in range(6):
            left = cell(_inputs(6)[time], left)
            states.append(left)
            if time % 2:
                right = cell(_inputs(6, seed=1)[time], right)
        (left.sum() + right.sum()).backward()
        optimizer.step()
    assert _calls(tmp_path / "run", "GRUCell") == {0: 7, 1: 4}
    recorded = gradscope.open_run(tmp_path / "run").states("GRUCell", 0, call=0)
    torch.testing.assert_close(torch.tensor(recorded), torch.stack(states).detach())


def test_a_fork_belongs_to_its_first_continuation(tmp_path: Path) -> None:
    """A state that goes on twice, as in a beam search: the first call continues it, the second begins a sequence."""
    cell = _cell()
    with gradscope.watch(cell, run=tmp_path / "run", schedule=1) as recorder:
        state = cell(_inputs(1)[0])
        first, second = cell(_inputs(2)[0], state), cell(_inputs(2)[1], state)
        (first.sum() + second.sum()).backward()
        recorder.end_iteration()
    assert _calls(tmp_path / "run", "GRUCell") == {0: 2, 1: 1}


def test_one_module_under_two_names_and_nested_modules() -> None:
    """A shared cell is watched once, under its first name; a nested one under its path."""
    shared = _cell()
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"cell": shared}), "decoder": shared, "lstm": _cell("lstm")})
    with gradscope.watch(model, schedule=1) as recorder:
        state = model["encoder"]["cell"](_inputs(1)[0])
        state = model["decoder"](_inputs(1)[0], state)
        hidden, _ = model["lstm"](_inputs(1)[0], (state, state))
        hidden.sum().backward()
        latest = recorder.latest
    assert {name: len(trajectory.hidden) for name, trajectory in latest.items()} == {"encoder.cell": 2, "lstm": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_is_changed_on_the_way(kind: str) -> None:
    """Layer norm, dropout and a mask between the times: one sequence, totals exact, direct gradients not known."""
    cell, norm, states = _cell(kind), nn.LayerNorm(5).double(), []
    with gradscope.watch(nn.ModuleList([cell, norm]), schedule=1) as recorder:
        state = None
        for x in _inputs(6):
            state = cell(x, state)
            hidden = state[0] if kind == "lstm" else state
            hidden.retain_grad()
            states.append(hidden)
            hidden = nn.functional.dropout(norm(hidden), 0.3) * (x[:, :1] > -1)
            state = (hidden, state[1]) if kind == "lstm" else hidden
        hidden.square().sum().backward()
        trajectory = recorder.latest["0"]
    torch.testing.assert_close(trajectory.total_gradient, _gradients(states), rtol=0, atol=0)
    assert trajectory.direct_gradient.isnan().all(2).all(1).tolist() == [True] * 5 + [False]
    assert trajectory.weight_gradient_norm.isfinite().all()


def test_states_kept_in_one_tensor() -> None:
    """All layers' states stacked and selected from again, or cloned: direct gradients are known."""
    cells = nn.ModuleList([_cell(), nn.GRUCell(5, 5).double()])
    with gradscope.watch(cells, schedule=1) as recorder:
        states = torch.zeros((2, 4, 5), dtype=torch.float64)
        for x in _inputs(6):
            lower = cells[0](x, states[0])
            states = torch.stack([lower, cells[1](lower, states[1].clone())])
        states[1].sum().backward()
        lower, upper = (recorder.latest[name].direct_gradient.norm(dim=2).sum(1) for name in ("0", "1"))
    assert (upper > 0).tolist() == [False] * 5 + [True]
    assert (lower > 0).all()


def test_stacked_states_that_change_places_are_not_taken_for_the_same() -> None:
    """A state that hands on the other half of the batch is moved about: the direct gradient is not known."""
    cell = _cell()
    with gradscope.watch(cell, schedule=1) as recorder:
        state = cell(_inputs(1)[0])
        for x in _inputs(3):
            state = cell(x, torch.cat([state[2:], state[:2]]))
        state.sum().backward()
        direct = recorder.latest["GRUCell"].direct_gradient
    assert direct.isnan().all(2).all(1).tolist() == [True, True, True, False]


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_backpropagation_in_one_loss_shows_the_cut(kind: str) -> None:
    """A detach every four times and a loss at the end: one sequence, and no gradient before the last cut."""
    cell = _cell(kind)
    with gradscope.watch(cell, schedule=1) as recorder:
        state = None
        for time, x in enumerate(_inputs(12)):
            if time and time % 4 == 0:
                state = tuple(part.detach() for part in state) if kind == "lstm" else state.detach()
            state = cell(x, state)
        (state[0] if kind == "lstm" else state).sum().backward()
        (trajectory,) = recorder.latest.values()
    assert (trajectory.total_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 8 + [True] * 4
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 11 + [True]


def test_a_window_with_a_backward_pass_of_its_own_is_a_call(tmp_path: Path) -> None:
    """Three windows of four times, each sent back when it ends: three calls of four times, whatever is kept alive."""
    for name, keep_alive in (("kept", True), ("dropped", False)):
        cell, alive, state = _cell(), [], None
        with gradscope.watch(cell, run=tmp_path / name, schedule=1) as recorder:
            for window in _inputs(12).split(4):
                for x in window:
                    state = cell(x, state)
                state.sum().backward()
                alive += [state] if keep_alive else []
                state = state.detach()
            recorder.end_iteration()
        assert _calls(tmp_path / name, "GRUCell") == {0: 4, 1: 4, 2: 4}


def test_a_retained_graph_goes_on(tmp_path: Path) -> None:
    """With retain_graph the sequence is not over: each backward pass reports all times so far."""
    cell, state = _cell(), None
    with gradscope.watch(cell, run=tmp_path / "run", schedule=1) as recorder:
        for window in _inputs(8).split(4):
            for x in window:
                state = cell(x, state)
            state.sum().backward(retain_graph=True)
        recorder.end_iteration()
    assert _calls(tmp_path / "run", "GRUCell") == {0: 4, 1: 8}


def test_losses_of_cut_windows_sent_back_one_by_one(tmp_path: Path) -> None:
    """Two windows of one sequence, their losses sent back at the end: a pass has the gradients of its window."""
    cell, state, losses = _cell(), None, []
    with gradscope.watch(cell, run=tmp_path / "run", schedule=1) as recorder:
        for window in _inputs(6).split(3):
            for x in window:
                state = cell(x, state)
            losses.append(state.sum())
            state = state.detach()
        for loss in losses:
            loss.backward()
        recorder.end_iteration()
    table = gradscope.open_run(tmp_path / "run").timesteps
    reached = [(of_call["total_gradient_norm"] > 0).tolist() for _, of_call in table.groupby("call")]
    assert reached == [[True] * 3 + [False] * 3, [False] * 3 + [True] * 3]


def test_gradient_accumulation_and_an_aborted_forward_pass(tmp_path: Path) -> None:
    """Two batches before a step are two calls; a pass that is never sent back is none."""
    cell = _cell()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, run=tmp_path / "run", schedule=1):
        for seed, sent_back in ((0, True), (1, False), (2, True)):
            state = None
            for x in _inputs(3 + seed, seed=seed):
                state = cell(x, state)
            if sent_back:
                state.sum().backward()
        optimizer.step()
    assert _calls(tmp_path / "run", "GRUCell") == {0: 3, 1: 5}


def test_an_evaluation_in_the_middle_ends_nothing() -> None:
    """Calls under no_grad and inference_mode are ignored: the sequence goes on afterwards."""
    cell, state = _cell(), None
    with gradscope.watch(cell, schedule=1) as recorder:
        for x in _inputs(6):
            state = cell(x, state)
            with torch.no_grad():
                cell(x, state)
            with torch.inference_mode():
                cell(x, state)
        state.sum().backward()
        assert len(recorder.latest["GRUCell"].hidden) == 6


def test_the_loop_inside_activation_checkpointing() -> None:
    """A checkpointed loop is one sequence with the gradients of the loop without."""

    def loop(inputs: Tensor) -> Tensor:
        state = None
        for x in inputs:
            state = cell(x, state)
        return state

    cell, found = _cell(), []
    for use_reentrant in (None, False, True):
        with gradscope.watch(cell, schedule=1) as recorder:
            inputs = _inputs(6).requires_grad_()
            last = loop(inputs) if use_reentrant is None else checkpoint(loop, inputs, use_reentrant=use_reentrant)
            last.square().sum().backward()
            found.append(recorder.latest["GRUCell"])
    for trajectory in found:
        torch.testing.assert_close(trajectory.total_gradient, found[0].total_gradient, rtol=0, atol=0)
        torch.testing.assert_close(trajectory.direct_gradient, found[0].direct_gradient, rtol=0, atol=0)


def test_a_batch_that_shrinks_is_said_to_be_unsupported() -> None:
    """Sequences that drop out of the batch on the way are one clear warning."""
    cell = _cell()
    with (
        pytest.warns(UserWarning, match=r"through GRUCell: the shape of its state changed from \(4, 5\) to \(2, 5\)"),
        gradscope.watch(cell, schedule=1) as recorder,
    ):
        state = cell(_inputs(1)[0])
        cell(_inputs(1)[0][:2], state[:2]).sum().backward()
        assert recorder.latest == {}


def test_a_state_changed_in_place_is_noticed() -> None:
    """An LSTM's state overwritten in place, as at the end of an episode, cannot be recorded exactly."""
    cell = _cell("lstm")
    with (
        pytest.warns(UserWarning, match="input or state was changed in place"),
        gradscope.watch(cell, schedule=1) as recorder,
    ):
        hidden, memory = cell(_inputs(1)[0])
        hidden[1] = 0
        cell(_inputs(1)[0], (hidden, memory))[0].sum().backward()
        assert recorder.latest == {}


@pytest.mark.parametrize("norm", ["weight_norm", "spectral_norm"])
def test_parametrized_weights(norm: str) -> None:
    """The weight that each call really used enters the numbers, also where it differs from call to call."""
    cell, states = getattr(nn.utils.parametrizations, norm)(_cell(), "weight_hh"), []
    weights: list[Tensor] = []
    listening = cell.parametrizations["weight_hh"].register_forward_hook(lambda *given: weights.append(given[2]))
    with gradscope.watch(cell, schedule=1) as recorder:
        state = torch.zeros((4, 5), dtype=torch.float64)
        for x in _inputs(6):
            state = cell(x, state)
            state.retain_grad()
            states.append(state)
        state.sum().backward()
        (trajectory,) = recorder.latest.values()
    listening.remove()
    torch.testing.assert_close(trajectory.total_gradient, _gradients(states), rtol=0, atol=0)
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 5 + [True]
    assert len(weights) == 6


def test_weights_replaced_before_each_call() -> None:
    """A weight-drop wrapper sets a plain tensor as weight_hh before every call: each time has its own."""
    cell, state = _cell("rnn_tanh"), None
    raw = cell.weight_hh
    del cell.weight_hh
    cell.raw = raw
    with gradscope.watch(cell, schedule=1) as recorder:
        for x in _inputs(6):
            cell.weight_hh = nn.functional.dropout(cell.raw, 0.5)
            state = cell(x, state)
        state.sum().backward()
        (trajectory,) = recorder.latest.values()
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 5 + [True]


def test_two_parts_of_a_state_from_one_node(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fused cells, as on a GPU, make h and c in one node: the gradients are those of PyTorch's separate operations."""

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

    def trajectory() -> gradscope.Trajectory:
        state = None
        with gradscope.watch(cell, schedule=1) as recorder:
            for x in _inputs(6):
                state = cell(x, state)
            (state[0].square().sum() + state[1].sum()).backward()
            return recorder.latest["LSTMCell"]

    cell, plain = _cell("lstm"), torch._VF.lstm_cell
    separate = trajectory()
    monkeypatch.setattr(
        torch._VF, "lstm_cell", lambda x, state, *weights: Fused.apply(x, *state, *weights), raising=False
    )
    fused = trajectory()
    for name in ("total_gradient", "direct_gradient", "cell_gradient", "weight_gradient_norm"):
        torch.testing.assert_close(getattr(fused, name), getattr(separate, name))


def test_autocast_and_a_scaled_loss(tmp_path: Path) -> None:
    """Under autocast a float32 cell computes in bfloat16; a scaled loss is reported unscaled."""
    torch.manual_seed(0)
    cell, norms = nn.LSTMCell(3, 5), []
    for scale in (None, 1024.0):
        scaler = None if scale is None else torch.amp.GradScaler("cpu", init_scale=scale)
        with gradscope.watch(cell, schedule=1, scaler=scaler) as recorder:
            with torch.autocast("cpu", torch.bfloat16):
                state = None
                for x in _inputs(6).float():
                    state = cell(x, state)
                loss = state[0].float().sum()
            (loss if scaler is None else scaler.scale(loss)).backward()
            norms.append(recorder.latest["LSTMCell"].total_gradient.flatten(1).norm(dim=1))
    torch.testing.assert_close(norms[1], norms[0], rtol=1e-6, atol=0)
    assert (norms[0] > 0).all()


def test_what_is_written(tmp_path: Path) -> None:
    """The run describes the cell, and holds its gates and its states."""
    cell = _cell("lstm")
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, run=tmp_path / "run", schedule=1, keep="full"):
        state = None
        for x in _inputs(6):
            state = cell(x, state)
        state[0].sum().backward()
        optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert run.metadata["layers"] == {"LSTMCell": {"kind": "lstm", "input_size": 3, "hidden_size": 5}}
    assert run.states("LSTMCell", 0).shape == (6, 4, 5)
    assert set(run.gates["gate"]) == {"input", "forget", "output"}
    assert run.timesteps[["cell_gradient_norm", "weight_gradient_norm", "saturation"]].notna().all().all()


def test_nothing_keeps_the_graph_alive_after_the_iteration() -> None:
    """When an iteration has ended its graph dies with the user's own references, though the recorder lives on."""
    cell, canary = _cell(), _Canary()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, schedule=1) as recorder:
        state = canary.attached_to(_inputs(1)[0])
        for x in _inputs(4):
            state = cell(x, state)
        state.sum().backward()
        optimizer.step()
        del state
        assert canary.dead()
        assert len(recorder.latest["GRUCell"].hidden) == 4


def test_a_loss_that_the_user_keeps_does_not_keep_the_recorder() -> None:
    """A kept graph refers to no model and no recorder once the recorder is closed and dropped."""
    cell = _cell()
    recorder = gradscope.watch(cell, schedule=1)
    state = None
    for x in _inputs(4):
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

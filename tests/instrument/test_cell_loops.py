"""Which calls of a cell are one sequence, and what of it is known: detached, changed, forked and finished states."""

from pathlib import Path

import pytest
import torch
from torch import nn

import gradscope
from tests.instrument.loops import calls_of, float64_cell, gradients_of, inputs_of
from tests.strategies import KINDS


def test_two_interleaved_sequences_of_one_cell(tmp_path: Path) -> None:
    """An encoder used for two texts at once: two calls, in the order in which they began, each with its own length."""
    cell = float64_cell()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, run=tmp_path / "run", schedule=1, keep="full"):
        left, right = cell(inputs_of(1)[0]), cell(inputs_of(1, seed=1)[0])
        states = [left]
        for time in range(6):
            left = cell(inputs_of(6)[time], left)
            states.append(left)
            if time % 2:
                right = cell(inputs_of(6, seed=1)[time], right)
        (left.sum() + right.sum()).backward()
        optimizer.step()
    assert calls_of(tmp_path / "run", "GRUCell") == {0: 7, 1: 4}
    recorded = gradscope.open_run(tmp_path / "run").states("GRUCell", 0, call=0)
    torch.testing.assert_close(torch.tensor(recorded), torch.stack(states).detach())


def test_a_fork_belongs_to_its_first_continuation(tmp_path: Path) -> None:
    """A state that goes on twice, as in a beam search: the first call continues it, the second begins a sequence."""
    cell = float64_cell()
    with gradscope.watch(cell, run=tmp_path / "run", schedule=1) as recorder:
        state = cell(inputs_of(1)[0])
        first, second = cell(inputs_of(2)[0], state), cell(inputs_of(2)[1], state)
        (first.sum() + second.sum()).backward()
        recorder.end_iteration()
    assert calls_of(tmp_path / "run", "GRUCell") == {0: 2, 1: 1}


def test_one_module_under_two_names_and_nested_modules() -> None:
    """A shared cell is watched once, under its first name; a nested one under its path."""
    shared = float64_cell()
    model = nn.ModuleDict({"encoder": nn.ModuleDict({"cell": shared}), "decoder": shared, "lstm": float64_cell("lstm")})
    with gradscope.watch(model, schedule=1) as recorder:
        state = model["encoder"]["cell"](inputs_of(1)[0])
        state = model["decoder"](inputs_of(1)[0], state)
        hidden, _ = model["lstm"](inputs_of(1)[0], (state, state))
        hidden.sum().backward()
        latest = recorder.latest
    assert {name: len(trajectory.hidden) for name, trajectory in latest.items()} == {"encoder.cell": 2, "lstm": 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_that_is_changed_on_the_way(kind: str) -> None:
    """Layer norm, dropout and a mask between the times: one sequence, totals exact, direct gradients not known."""
    cell, norm, states = float64_cell(kind), nn.LayerNorm(5).double(), []
    with gradscope.watch(nn.ModuleList([cell, norm]), schedule=1) as recorder:
        state = None
        for x in inputs_of(6):
            state = cell(x, state)
            hidden = state[0] if kind == "lstm" else state
            hidden.retain_grad()
            states.append(hidden)
            hidden = nn.functional.dropout(norm(hidden), 0.3) * (x[:, :1] > -1)
            state = (hidden, state[1]) if kind == "lstm" else hidden
        hidden.square().sum().backward()
        trajectory = recorder.latest["0"]
    torch.testing.assert_close(trajectory.total_gradient, gradients_of(states), rtol=0, atol=0)
    assert trajectory.direct_gradient.isnan().all(2).all(1).tolist() == [True] * 5 + [False]
    assert trajectory.weight_gradient_norm.isfinite().all()


def test_states_kept_in_one_tensor() -> None:
    """All layers' states stacked and selected from again, or cloned: direct gradients are known."""
    cells = nn.ModuleList([float64_cell(), nn.GRUCell(5, 5).double()])
    with gradscope.watch(cells, schedule=1) as recorder:
        states = torch.zeros((2, 4, 5), dtype=torch.float64)
        for x in inputs_of(6):
            lower = cells[0](x, states[0])
            states = torch.stack([lower, cells[1](lower, states[1].clone())])
        states[1].sum().backward()
        lower, upper = (recorder.latest[name].direct_gradient.norm(dim=2).sum(1) for name in ("0", "1"))
    assert (upper > 0).tolist() == [False] * 5 + [True]
    assert (lower > 0).all()


def test_stacked_states_that_change_places_are_not_taken_for_the_same() -> None:
    """A state that hands on the other half of the batch is moved about: the direct gradient is not known."""
    cell = float64_cell()
    with gradscope.watch(cell, schedule=1) as recorder:
        state = cell(inputs_of(1)[0])
        for x in inputs_of(3):
            state = cell(x, torch.cat([state[2:], state[:2]]))
        state.sum().backward()
        direct = recorder.latest["GRUCell"].direct_gradient
    assert direct.isnan().all(2).all(1).tolist() == [True, True, True, False]


def test_an_evaluation_in_the_middle_ends_nothing() -> None:
    """Calls under no_grad and inference_mode are ignored: the sequence goes on afterwards."""
    cell, state = float64_cell(), None
    with gradscope.watch(cell, schedule=1) as recorder:
        for x in inputs_of(6):
            state = cell(x, state)
            with torch.no_grad():
                cell(x, state)
            with torch.inference_mode():
                cell(x, state)
        state.sum().backward()
        assert len(recorder.latest["GRUCell"].hidden) == 6


def test_a_batch_that_shrinks_is_said_to_be_unsupported() -> None:
    """Sequences that drop out of the batch on the way are one clear warning."""
    cell = float64_cell()
    with (
        pytest.warns(UserWarning, match=r"through GRUCell: the shape of its state changed from \(4, 5\) to \(2, 5\)"),
        gradscope.watch(cell, schedule=1) as recorder,
    ):
        state = cell(inputs_of(1)[0])
        cell(inputs_of(1)[0][:2], state[:2]).sum().backward()
        assert recorder.latest == {}


def test_a_state_changed_in_place_is_noticed() -> None:
    """An LSTM's state overwritten in place, as at the end of an episode, cannot be recorded exactly."""
    cell = float64_cell("lstm")
    with (
        pytest.warns(UserWarning, match="input or state was changed in place"),
        gradscope.watch(cell, schedule=1) as recorder,
    ):
        hidden, memory = cell(inputs_of(1)[0])
        hidden[1] = 0
        cell(inputs_of(1)[0], (hidden, memory))[0].sum().backward()
        assert recorder.latest == {}


def test_what_is_written(tmp_path: Path) -> None:
    """The run describes the cell, and holds its gates and its states."""
    cell = float64_cell("lstm")
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, run=tmp_path / "run", schedule=1, keep="full"):
        state = None
        for x in inputs_of(6):
            state = cell(x, state)
        state[0].sum().backward()
        optimizer.step()
    run = gradscope.open_run(tmp_path / "run")
    assert run.metadata["layers"] == {"LSTMCell": {"kind": "lstm", "input_size": 3, "hidden_size": 5}}
    assert run.states("LSTMCell", 0).shape == (6, 4, 5)
    assert set(run.gates["gate"]) == {"input", "forget", "output"}
    assert run.timesteps[["cell_gradient_norm", "weight_gradient_norm", "saturation"]].notna().all().all()

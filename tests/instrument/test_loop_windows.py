"""Several backward passes through one loop: windows, retained graphs, accumulated gradients."""

from pathlib import Path

import pytest
import torch

import gradscope
from tests.instrument.loops import calls_of, float64_cell, inputs_of
from tests.strategies import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_truncated_backpropagation_in_one_loss_shows_the_cut(kind: str) -> None:
    """A detach every four times and a loss at the end: one sequence, and no gradient before the last cut."""
    cell = float64_cell(kind)
    with gradscope.watch(cell, schedule=1) as recorder:
        state = None
        for time, x in enumerate(inputs_of(12)):
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
        cell, alive, state = float64_cell(), [], None
        with gradscope.watch(cell, run=tmp_path / name, schedule=1) as recorder:
            for window in inputs_of(12).split(4):
                for x in window:
                    state = cell(x, state)
                state.sum().backward()
                alive += [state] if keep_alive else []
                state = state.detach()
            recorder.end_iteration()
        assert calls_of(tmp_path / name, "GRUCell") == {0: 4, 1: 4, 2: 4}


def test_a_retained_graph_goes_on(tmp_path: Path) -> None:
    """With retain_graph the sequence is not over: each backward pass reports all times so far."""
    cell, state = float64_cell(), None
    with gradscope.watch(cell, run=tmp_path / "run", schedule=1) as recorder:
        for window in inputs_of(8).split(4):
            for x in window:
                state = cell(x, state)
            state.sum().backward(retain_graph=True)
        recorder.end_iteration()
    assert calls_of(tmp_path / "run", "GRUCell") == {0: 4, 1: 8}


def test_losses_of_cut_windows_sent_back_one_by_one(tmp_path: Path) -> None:
    """Two windows of one sequence, their losses sent back at the end: a pass has the gradients of its window."""
    cell, state, losses = float64_cell(), None, []
    with gradscope.watch(cell, run=tmp_path / "run", schedule=1) as recorder:
        for window in inputs_of(6).split(3):
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
    cell = float64_cell()
    optimizer = torch.optim.SGD(cell.parameters(), lr=0.1)
    with gradscope.watch(cell, optimizer, run=tmp_path / "run", schedule=1):
        for seed, sent_back in ((0, True), (1, False), (2, True)):
            state = None
            for x in inputs_of(3 + seed, seed=seed):
                state = cell(x, state)
            if sent_back:
                state.sum().backward()
        optimizer.step()
    assert calls_of(tmp_path / "run", "GRUCell") == {0: 3, 1: 5}

"""A decoder that calls a fused module for one time after the other."""

import pytest
import torch
from torch import nn

import gradscope


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_one_time_calls_are_said(tmp_path, kind):
    """With the ratio of the first call's gradient to the last's, as autograd has it, and the cell to use instead."""
    torch.manual_seed(0)
    layer = kind(3, 4)
    inputs = torch.randn(9, 1, 2, 3)

    def run():
        state, states = None, []
        for now in inputs:
            _, state = layer(now, state)
            states.append(state if kind is not nn.LSTM else state[0])
            states[-1].retain_grad()
        states[-1].square().sum().backward()
        return [float(state.grad[0].norm(dim=1).mean()) for state in states]

    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        norms = run()
        recorder.end_iteration()

    (finding,) = [
        each for each in gradscope.diagnose(gradscope.open_run(tmp_path / "run")) if each.code == "one-time-calls"
    ]
    assert finding.layer == "l0"
    assert finding.evidence["calls"] == 9
    assert finding.evidence["first_to_last"] == pytest.approx(norms[0] / norms[-1], rel=1e-5)
    assert f"nn.{kind.__name__}Cell" in finding.advice[0]


@pytest.mark.parametrize("time", [1, 6])
def test_a_single_call_and_calls_of_many_times_are_not(tmp_path, time):
    """One call of one time is a layer that has no time; several of many are windows."""
    layer = nn.GRU(3, 4)
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        for _ in range(1 if time == 1 else 3):
            layer(torch.randn(time, 2, 3))[0].sum().backward()
        recorder.end_iteration()
    assert all(each.code != "one-time-calls" for each in gradscope.diagnose(gradscope.open_run(tmp_path / "run")))

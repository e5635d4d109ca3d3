"""A recurrent layer that is called for one time after the other, and remembers nothing."""

import pytest
import torch
from torch import nn

import gradscope


def _codes(folder, layer, step, times=9):
    with gradscope.watch(layer, run=folder, schedule=1) as recorder:
        state, outputs = None, []
        for x in torch.randn(times, 1, 2, 3):
            output, state = step(x, state)
            outputs.append(output)
        torch.cat(outputs).square().sum().backward()
        recorder.end_iteration()
    return {each.code: each for each in gradscope.diagnose(gradscope.open_run(folder))}


@pytest.mark.parametrize("kind", [nn.RNN, nn.GRU, nn.LSTM])
def test_a_state_that_is_not_handed_on_is_said(tmp_path, kind):
    """With how many calls there were; handed on, they are one sequence, and nothing is to be said of calls."""
    layer = kind(3, 4)
    finding = _codes(tmp_path / "forgetful", layer, lambda x, _: layer(x))["one-time-calls"]
    assert finding.layer == "l0"
    assert finding.evidence == {"calls": 9}
    assert "one-time-calls" not in _codes(tmp_path / "run", layer, layer)


def test_a_cell_that_is_not_handed_its_state_is_said(tmp_path):
    """The same mistake with a cell."""
    cell = nn.GRUCell(3, 4)
    finding = _codes(tmp_path / "run", cell, lambda x, _: (cell(x[0]), None))["one-time-calls"]
    assert finding.layer == "GRUCell"


def test_two_directions_one_time_after_the_other_are_said(tmp_path):
    """A reverse direction that is given one time has nothing to read."""
    layer = nn.GRU(3, 4, bidirectional=True)
    assert "one-time-calls" in _codes(tmp_path / "run", layer, layer)


@pytest.mark.parametrize("time", [1, 6])
def test_a_single_call_and_calls_of_many_times_are_not(tmp_path, time):
    """One call of one time is a layer that has no time; several of many are windows."""
    layer = nn.GRU(3, 4)
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        for _ in range(1 if time == 1 else 3):
            layer(torch.randn(time, 2, 3))[0].sum().backward()
        recorder.end_iteration()
    assert all(each.code != "one-time-calls" for each in gradscope.diagnose(gradscope.open_run(tmp_path / "run")))

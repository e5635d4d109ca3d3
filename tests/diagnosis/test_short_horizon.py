"""A short horizon is one of the gradient, not of a sequence that begins with a state of 0."""

import pytest
import torch
from torch import nn

import gradscope


def _codes(folder, factor, lag, times=30):
    """A linear recurrence of which each unit keeps a factor, answered at the last time, with constant inputs."""
    layer = nn.RNN(1, 4, nonlinearity="relu")
    with torch.no_grad():
        for parameter in layer.parameters():
            parameter.zero_()
        layer.weight_hh_l0.copy_(factor * torch.eye(4))
        layer.bias_hh_l0.fill_(1.0)
    with gradscope.watch(layer, run=folder, schedule=1, metadata={"lag": lag}) as recorder:
        for _ in range(8):
            layer(torch.randn(times, 4, 1))[0][-1].sum().backward()
            recorder.end_iteration()
            layer.zero_grad()
    return {finding.code for finding in gradscope.diagnose(gradscope.open_run(folder))}


@pytest.mark.parametrize("factor", [1.0, 0.97])
def test_the_first_time_adds_nothing_and_is_not_missed(tmp_path, factor):
    """From the last time to the first the gradient arrives whole: the weights' own comes from all times but the first.

    The state is a running sum, so that the first times add little.
    """
    assert "short-horizon" not in _codes(tmp_path / "run", factor, 29)


def test_a_gradient_that_is_gone_before_the_lag_has_a_short_horizon(tmp_path):
    """Halved every time, 1 % is left after 7."""
    assert "short-horizon" in _codes(tmp_path / "run", 0.5, 29)
    assert "short-horizon" not in _codes(tmp_path / "near", 0.5, 5)

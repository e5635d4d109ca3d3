"""Total gradients against retain_grad on torch's own cells, unrolled in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradscope.dynamics import total_gradient
from gradscope.errors import UsageError
from tests.dynamics.cells import TOLERANCE, cases, double, full, unroll


def last_time(states):
    """Of the last h alone."""
    return torch.sin(_hidden(states)[-1]).sum()


def every_time(states):
    """Of all h, each time with a weight of its own."""
    hidden = _hidden(states)
    return (hidden.square() * torch.arange(1, len(hidden) + 1)[:, None, None]).sum()


def crossed(states):
    """Of products of states at different times, and of an LSTM's c."""
    cell = states if isinstance(states, torch.Tensor) else states[1]
    return (_hidden(states)[0] * cell[-1]).sum() + cell.mean().tanh()


LOSSES = {"last time": last_time, "every time": every_time, "crossed": crossed}


def _hidden(states):
    return states if isinstance(states, torch.Tensor) else states[0]


def _by_autograd(cell, x, state, loss):
    cell, x, parts = double(cell, x, state)
    states = unroll(cell, x, parts)
    stacked = torch.stack(states)
    loss(tuple(stacked.chunk(2, -1)) if isinstance(cell, nn.LSTMCell) else stacked).backward()
    return torch.stack([torch.zeros_like(z) if z.grad is None else z.grad for z in states])


@given(cases(), st.sampled_from(sorted(LOSSES)))
def test_total_gradients_are_autograds(case, loss):
    """Of every time and the whole state, whatever the loss depends on."""
    cell, x, state = case.make()
    actual = total_gradient(cell, x, state, LOSSES[loss])

    expected = _by_autograd(cell, x, state, LOSSES[loss])
    assert actual.dtype == case.dtype
    torch.testing.assert_close(actual.double(), expected, **TOLERANCE[case.dtype])
    assert all(parameter.grad is None for parameter in cell.parameters())


@given(cases())
def test_direct_gradients_may_be_given_instead(case):
    """The gradient of sum(e_t * z_t) has e_t as direct gradient."""
    cell, x, state = case.make()
    direct = torch.randn(case.time, case.batch, full([state] if case.kind != "lstm" else list(state)).shape[1])

    def linear(states):
        return ((states if isinstance(states, torch.Tensor) else torch.cat(states, -1)) * direct).sum()

    actual = total_gradient(cell, x, state, direct.to(case.dtype))
    torch.testing.assert_close(actual.double(), _by_autograd(cell, x, state, linear), **TOLERANCE[case.dtype])


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        (lambda states: states, r"one differentiable number, got a Tensor of shape \(3, 2, 4\)"),
        (lambda states: states.detach().sum(), "that does not depend on them"),
        (lambda _: 3.0, "got float"),
        (torch.zeros(3, 2, 5), r"\(3, 2, 4\), got \(3, 2, 5\)"),
    ],
)
def test_a_loss_that_is_none_is_refused(loss, message):
    """The message says what came instead."""
    with pytest.raises(UsageError, match=message):
        total_gradient(nn.GRUCell(3, 4), torch.zeros(3, 2, 3), torch.zeros(2, 4), loss)

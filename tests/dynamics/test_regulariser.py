"""Omega against its definition, differentiated by autograd."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradscope.dynamics import omega


def _written_out(rnn, inputs, loss):
    """Return Omega by one sequence and step after the other, as a function of W_hh alone in J_t, and its gradient."""
    weight = rnn.weight_hh_l0.detach().clone()
    states, h = [], torch.zeros(inputs.shape[1], rnn.hidden_size, dtype=inputs.dtype)
    act = torch.tanh if rnn.nonlinearity == "tanh" else torch.relu
    used = weight.clone().requires_grad_()
    for x in inputs:
        h = act(x @ rnn.weight_ih_l0.T.detach() + rnn.bias_ih_l0.detach() + h @ used.T + rnn.bias_hh_l0.detach())
        h.retain_grad()
        states.append(h)
    loss(torch.stack(states)).backward()
    free, value = weight.clone().requires_grad_(), 0
    for after in states[1:]:
        for sequence in range(inputs.shape[1]):
            a, h = after.grad[sequence], after.detach()[sequence]
            slope = 1 - h**2 if rnn.nonlinearity == "tanh" else (h > 0).to(h.dtype)
            jacobian = torch.diag(slope) @ free
            if a.norm() > 0 and (sent := a @ jacobian).norm() > 0:
                value = value + (sent.norm() / a.norm() - 1) ** 2 / inputs.shape[1]
    if not torch.is_tensor(value):
        return torch.zeros((), dtype=inputs.dtype), torch.zeros_like(weight)
    return value.detach(), torch.autograd.grad(value, free)[0]


@given(
    st.sampled_from(["tanh", "relu"]),
    st.integers(1, 7),
    st.integers(1, 3),
    st.integers(1, 6),
    st.booleans(),
    st.integers(0, 999),
)
def test_value_and_gradient_are_those_of_the_definition(nonlinearity, time, batch, hidden, at_all_times, seed):
    """With a loss at the last time or at all of them, in float64."""
    torch.manual_seed(seed)
    rnn = nn.RNN(2, hidden, nonlinearity=nonlinearity).double()
    inputs = torch.randn(time, batch, 2, dtype=torch.float64)

    def loss(states):
        return states.square().sum() if at_all_times else states[-1].square().sum()

    outputs, _ = rnn(inputs)
    outputs.retain_grad()
    loss(outputs).backward()
    found = omega(outputs.detach(), outputs.grad, rnn.weight_hh_l0.detach(), nonlinearity)

    value, gradient = _written_out(rnn, inputs, loss)
    torch.testing.assert_close(found.value, value)
    torch.testing.assert_close(found.gradient, gradient)


def test_a_rotation_that_nothing_saturates_has_none():
    """Where every J_t is orthogonal the gradient keeps its length already: Omega is 0, and so is its gradient."""
    torch.manual_seed(0)
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64))[0]
    hidden = torch.rand(9, 3, 5, dtype=torch.float64) + 0.1  # as relu leaves where all units are on
    direct = torch.zeros_like(hidden)
    direct[-1] = torch.randn(3, 5, dtype=torch.float64)
    found = omega(hidden, direct, rotation, "relu")
    assert float(found.value) < 1e-28
    assert float(found.gradient.abs().max()) < 1e-14


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
def test_the_scale_of_the_loss_does_not_matter(scale):
    """A gradient near the smallest float32 has the same direction."""
    torch.manual_seed(0)
    hidden = torch.tanh(torch.randn(6, 2, 4))
    direct = torch.zeros_like(hidden)
    direct[-1] = torch.randn(2, 4)
    recurrent = torch.randn(4, 4)
    plain, scaled = (omega(hidden, factor * direct, recurrent, "tanh") for factor in (1.0, scale))
    torch.testing.assert_close(scaled.gradient, plain.gradient)
    assert float(plain.gradient.abs().max()) > 0


def test_no_gradient_at_all_is_no_omega():
    """Where nothing comes back there is no length to keep."""
    found = omega(torch.rand(4, 2, 3), torch.zeros(4, 2, 3), torch.randn(3, 3), "tanh")
    assert float(found.value) == 0
    assert not found.gradient.any()

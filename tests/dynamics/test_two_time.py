"""The two-time picture against one sweep of autograd for every loss time."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradscope.dynamics import cancellation_index, lag_profile, total_gradient, two_time_gradient
from tests.dynamics.cells import TOLERANCE, cases, double, unroll


def _sweep_for_each_loss_time(cell, x, state, entering):
    """G[s, k] as |d loss_s / d z_k| with loss_s = sum of squares of h_s, and a_k; by autograd alone."""
    cell, x, parts = double(cell, x, state)
    hidden = parts[0].shape[1]
    norms = torch.zeros(len(x), len(x), x.shape[1], dtype=torch.float64)
    states = unroll(cell, x, parts)
    total = [torch.zeros_like(z) for z in states]
    for s in entering:
        gradients = torch.autograd.grad(
            states[s][:, :hidden].square().sum(), states, allow_unused=True, retain_graph=True
        )
        for k, gradient in enumerate(gradients):
            if gradient is not None:
                norms[s, k] = gradient.norm(dim=-1)
                total[k] = total[k] + gradient
    return norms, torch.stack(total)


@given(cases(min_time=2), st.data())
def test_all_pairs_of_times_are_autograds(case, data):
    """One growing sweep gives what a sweep for every loss time gives; the total gradient is its vector sum."""
    cell, x, state = case.make()
    entering = sorted(data.draw(st.sets(st.integers(0, case.time - 1), min_size=1)))

    def loss(states):
        hidden = states if isinstance(states, torch.Tensor) else states[0]
        return hidden[entering].square().sum()

    actual = two_time_gradient(cell, x, state, loss)
    norms, total = _sweep_for_each_loss_time(cell, x, state, entering)

    assert actual.norms.dtype == case.dtype
    torch.testing.assert_close(actual.norms.double(), norms, **TOLERANCE[case.dtype])
    torch.testing.assert_close(actual.total.double(), total, **TOLERANCE[case.dtype])
    torch.testing.assert_close(actual.total, total_gradient(cell, x, state, loss), **TOLERANCE[case.dtype])


@given(st.floats(0.3, 1.2), st.integers(2, 12), st.sets(st.integers(0, 11), min_size=1))
def test_the_lag_profile_of_a_scalar_recurrence_is_a_power(factor, time, loss_times):
    """Of h = f h + x, G[s, k] = f^(s-k), so that phi(l) = f^l wherever a loss time reaches back l times."""
    loss_times = sorted({s % time for s in loss_times})
    x = torch.zeros(time, 2, 1, dtype=torch.float64)
    two_time = two_time_gradient(
        lambda x, h: factor * h + x, x, torch.ones(2, 1, dtype=torch.float64), lambda h: h[loss_times].sum()
    )

    profile = lag_profile(two_time)

    expected = [factor**lag if lag <= max(loss_times) else math.nan for lag in range(time)]
    expected = torch.tensor(expected, dtype=torch.float64)[:, None].expand(-1, 2)
    torch.testing.assert_close(profile, expected, rtol=1e-12, atol=0, equal_nan=True)


def test_the_mean_over_loss_times_is_taken_sequence_by_sequence():
    """A loss that weighs times 1 and 2 by 1 and 3: phi = (1 + 3) / 2, f (1 + 3) / 2, f^2 3."""
    f = 0.5
    x = torch.zeros(3, 1, 1, dtype=torch.float64)
    two_time = two_time_gradient(
        lambda x, h: f * h + x, x, torch.ones(1, 1, dtype=torch.float64), lambda h: (h[1] + 3 * h[2]).sum()
    )
    expected = torch.tensor([[2.0], [2 * f], [3 * f**2]], dtype=torch.float64)
    torch.testing.assert_close(lag_profile(two_time), expected, rtol=1e-14, atol=0)
    alike = torch.tensor([[1.0], [f], [f**2]], dtype=torch.float64)
    torch.testing.assert_close(lag_profile(two_time, relative=True), alike, rtol=1e-14, atol=0)


def test_a_sequence_without_a_loss_at_a_time_does_not_count_it():
    """The loss of the second sequence enters at time 2 alone, that of the first at 1 and 2 with weights 1 and 3."""
    f = 0.5
    weights = torch.tensor([[0.0, 0.0], [1.0, 0.0], [3.0, 5.0]], dtype=torch.float64)[..., None]
    x = torch.zeros(3, 2, 1, dtype=torch.float64)
    two_time = two_time_gradient(lambda x, h: f * h + x, x, torch.ones(2, 1, dtype=torch.float64), weights)
    alike = torch.tensor([[1.0, 1.0], [f, f], [f**2, f**2]], dtype=torch.float64)
    torch.testing.assert_close(lag_profile(two_time, relative=True), alike, rtol=1e-14, atol=0)


def test_parts_that_cancel_are_seen():
    """Two losses of opposite sign that arrive with the same size leave nothing; of one sign, nothing cancels."""
    x = torch.zeros(2, 1, 1, dtype=torch.float64)
    state = torch.ones(1, 1, dtype=torch.float64)

    def index(sign):
        return cancellation_index(two_time_gradient(lambda x, h: h + x, x, state, lambda h: (h[1] + sign * h[0]).sum()))

    assert torch.equal(index(-1.0), torch.tensor([[0.0], [1.0]], dtype=torch.float64))
    assert torch.equal(index(1.0), torch.ones(2, 1, dtype=torch.float64))


@given(cases(min_time=2))
def test_the_cancellation_index_lies_between_0_and_1(case):
    """The triangle inequality, on any network."""
    cell, x, state = case.make()
    index = cancellation_index(two_time_gradient(cell, x, state, lambda states: _of_h(states).square().sum()))

    inside = index[~index.isnan()]
    assert ((inside >= 0) & (inside <= 1 + 1e-5)).all()


def _of_h(states):
    return states if isinstance(states, torch.Tensor) else states[0]


def test_nothing_that_arrives_is_no_number():
    """After the last loss time there is neither a gradient nor an index."""
    x = torch.zeros(3, 1, 2)
    two_time = two_time_gradient(nn.GRUCell(2, 2), x, torch.zeros(1, 2), lambda h: h[0].sum())

    assert torch.equal(two_time.norms[:, 1:], torch.zeros(3, 2, 1))
    assert cancellation_index(two_time)[1:].isnan().all()
    assert two_time.loss_times.tolist() == [True, False, False]

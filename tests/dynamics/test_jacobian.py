"""Jacobians against autograd's, one sequence and one time after the other."""

import pytest
import torch
from hypothesis import given
from torch import nn

from gradscope.dynamics import (
    condition_number,
    jacobian_products,
    jacobians_through_time,
    roll_out,
    singular_values,
    spectral_radius,
    state_jacobian,
)
from gradscope.errors import UsageError
from tests.dynamics.cells import TOLERANCE, call, cases, dense_jacobians, double, full, unroll


@given(cases())
def test_jacobians_of_all_times_are_autograds(case):
    """Every entry of every J_t, over the full state, of every sequence."""
    cell, x, state = case.make()
    actual = jacobians_through_time(cell, x, state)
    assert actual.dtype == case.dtype
    torch.testing.assert_close(
        actual.double(), dense_jacobians(*double(cell, x, state)), **TOLERANCE[case.dtype], check_dtype=False
    )


@given(cases())
def test_the_jacobian_of_one_time_is_autograds(case):
    """state_jacobian is the first of them."""
    cell, x, state = case.make()
    expected = dense_jacobians(*double(cell, x[:1], state))[0]
    torch.testing.assert_close(state_jacobian(cell, x[0], state).double(), expected, **TOLERANCE[case.dtype])


@given(cases())
def test_roll_out_gives_the_states_of_the_loop(case):
    """The full state after each time."""
    cell, x, state = case.make()
    expected = torch.stack(unroll(*double(cell, x, state))).detach()
    torch.testing.assert_close(roll_out(cell, x, state).double(), expected, **TOLERANCE[case.dtype])


def test_an_lstms_jacobian_spans_the_cell():
    """Over the state it is (batch, 6, 6), over h alone only (batch, 3, 3); the lower right block is the cell path."""
    cell = nn.LSTMCell(2, 3).double()
    with torch.no_grad():
        for parameter in cell.parameters():
            parameter.zero_()
        cell.bias_ih[3:6] = 2.0
    zeros = torch.zeros(2, 3, dtype=torch.float64)

    jacobian = state_jacobian(cell, torch.zeros(2, 2, dtype=torch.float64), (zeros, zeros))

    forget = torch.eye(3, dtype=torch.float64) / (1 + torch.tensor(-2.0, dtype=torch.float64).exp())
    torch.testing.assert_close(jacobian[:, 3:, 3:], forget.expand(2, 3, 3), rtol=1e-14, atol=0)


@given(cases())
def test_products_end_at_the_last_time(case):
    """A matrix times exp(log_scale) is dz_{T-1} / dz_{t-1} as autograd has it through the loop."""
    cell, x, state = case.make()
    products = jacobian_products(jacobians_through_time(cell, x, state))
    cell, x, parts = double(cell, x, state)

    def last(z, start, n):
        for xt in x[start:, n : n + 1]:
            z = call(cell, xt, z)
        return z[0]

    before = [full(parts), *[z.detach() for z in unroll(cell, x, parts)]]
    for start in range(len(x)):
        for n in range(case.batch):
            expected = torch.autograd.functional.jacobian(
                lambda z, start=start, n=n: last(z[None], start, n), before[start][n]
            )
            actual = products.matrices[start, n].double() * products.log_scale[start, n].double().exp()
            torch.testing.assert_close(actual, expected, **TOLERANCE[case.dtype])


def test_products_neither_overflow_nor_underflow():
    """1000 times 10 and 1000 times 0.1 in float32 are exp(+-1000 ln 10) times the identity."""
    factors = torch.tensor([10.0, 0.1])[None, :, None, None] * torch.eye(2)
    products = jacobian_products(factors.repeat(1000, 1, 1, 1))

    torch.testing.assert_close(products.matrices[0], torch.eye(2).expand(2, 2, 2))
    torch.testing.assert_close(products.log_scale[0], torch.tensor([2302.585, -2302.585]), rtol=1e-5, atol=0)


def test_a_product_of_exactly_zero_says_so():
    """Its log scale is minus infinity, and nothing becomes NaN."""
    products = jacobian_products(torch.zeros(3, 1, 2, 2))

    assert torch.equal(products.matrices, torch.zeros(3, 1, 2, 2))
    assert torch.equal(products.log_scale, torch.full((3, 1), -torch.inf))


def test_radius_and_singular_value_are_told_apart():
    """[[0.9, 100], [0, 0.9]]: radius 0.9, largest singular value 100.0081 from the trace and determinant of A^T A."""
    matrix = torch.tensor([[[0.9, 100.0], [0.0, 0.9]]], dtype=torch.float64)
    trace, determinant = 100.0**2 + 2 * 0.9**2, 0.9**4
    largest = ((trace + (trace**2 - 4 * determinant) ** 0.5) / 2) ** 0.5

    values = singular_values(matrix)

    torch.testing.assert_close(spectral_radius(matrix), torch.tensor([0.9], dtype=torch.float64))
    torch.testing.assert_close(values, torch.tensor([[largest, 0.81 / largest]], dtype=torch.float64))
    torch.testing.assert_close(condition_number(matrix), torch.tensor([largest**2 / 0.81], dtype=torch.float64))


def test_rotation_keeps_lengths_and_singular_matrices_have_no_inverse():
    """A rotation by any angle: all 1. A projection: condition number infinite."""
    angle = torch.tensor(0.7, dtype=torch.float64)
    rotation = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()]).view(2, 2)
    both = torch.stack([rotation, torch.diag(torch.tensor([1.0, 0.0], dtype=torch.float64))])

    torch.testing.assert_close(spectral_radius(both), torch.ones(2, dtype=torch.float64))
    torch.testing.assert_close(condition_number(both), torch.tensor([1.0, torch.inf], dtype=torch.float64))


def test_what_is_not_finite_gives_nan_and_leaves_the_rest_alone():
    """One bad matrix in a batch does not take the others down."""
    matrices = torch.stack([torch.eye(2), torch.full((2, 2), torch.nan), torch.full((2, 2), torch.inf)])

    for quantity in (spectral_radius, condition_number):
        assert quantity(matrices)[0] == 1
        assert quantity(matrices)[1:].isnan().all()
    assert singular_values(matrices)[1:].isnan().all()


def test_a_state_of_another_batch_size_is_refused():
    """The message gives both sizes."""
    with pytest.raises(UsageError, match=r"inputs are \(time, batch, ...\) = \(1, 4, 2\).*axis of 4; the state has 3"):
        state_jacobian(nn.GRUCell(2, 3), torch.zeros(4, 2), torch.zeros(3, 3))
    with pytest.raises(UsageError, match="hold no time"):
        roll_out(nn.GRUCell(2, 3), torch.zeros(0, 4, 2), torch.zeros(4, 3))


def test_a_stack_of_layers_asks_which_one():
    """Each layer has dynamics of its own."""
    with pytest.raises(UsageError, match=r"2 layers in 1 directions.*layer_step"):
        state_jacobian(nn.GRU(2, 3, num_layers=2), torch.zeros(4, 2), torch.zeros(4, 3))

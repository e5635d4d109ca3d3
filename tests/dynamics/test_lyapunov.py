"""Exponents against the singular values of autograd's Jacobian products, and against closed forms."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from gradscope.dynamics import entropy_rate, kaplan_yorke_dimension, lyapunov_exponents, predictability_time
from gradscope.errors import UsageError
from tests.dynamics.cells import cases, dense_jacobians, double
from tests.examples import examples


def _linear(matrix):
    return lambda _, z: z @ matrix.T


def _no_input(time, batch=1):
    return torch.zeros(time, batch, 0, dtype=torch.float64)


@given(cases(min_time=2))
def test_the_volume_grows_as_the_determinants_say(case):
    """Over any number of times, the sum of all exponents is the mean log |det J_t| of autograd's Jacobians."""
    cell, x, state = case.make()
    actual = lyapunov_exponents(cell, x, state)

    expected = dense_jacobians(*double(cell, x, state)).det().abs().log().mean(0)
    lost = expected < (
        -15 if case.dtype == torch.float32 else -40
    )  # a dead relu unit, or rounding that is all there is
    torch.testing.assert_close(
        actual.per_sequence.sum(1)[~lost],
        expected[~lost],
        rtol=1e-2 if case.dtype == torch.float32 else 1e-6,
        atol=1e-2,
    )
    assert actual.complete
    assert actual.times == case.time


@given(cases(min_time=2), st.integers(1, 3), st.integers(0, 2))
def test_leading_exponents_are_those_of_a_plain_loop(case, k, burn_in):
    """The same QR iteration over autograd's dense Jacobians, in float64, from the same frame after a burn-in."""
    cell, x, state = case.make()
    size = case.hidden * (1 + (case.kind == "lstm"))
    k, burn_in = min(k, size), min(burn_in, case.time - 1)
    cell, x, parts = double(cell, x, state)
    state = tuple(parts) if case.kind == "lstm" else parts[0]

    actual = lyapunov_exponents(cell, x, state, k=k, burn_in=burn_in, seed=3)

    frame = torch.linalg.qr(torch.randn(size, k, generator=torch.Generator().manual_seed(3), dtype=torch.float64)).Q
    sums = torch.zeros(case.batch, k, dtype=torch.float64)
    q = frame.expand(case.batch, -1, -1)
    for jacobian in dense_jacobians(cell, x, parts)[burn_in:]:
        q, r = torch.linalg.qr(jacobian @ q)
        sums += r.diagonal(dim1=1, dim2=2).abs().log()
    expected = (sums / (case.time - burn_in)).sort(1, descending=True).values
    kept = expected > -20  # a relu that is dead, up to rounding
    torch.testing.assert_close(actual.per_sequence[kept], expected[kept], rtol=1e-6, atol=1e-6)
    assert actual.complete == (k == size)


@examples(20)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 30))
def test_the_interval_changes_nothing_but_the_cost(size, interval, tangent_burn_in):
    """With a well-conditioned matrix, exponents agree for any number of times between two QR decompositions."""
    torch.manual_seed(size)
    matrix = torch.eye(size, dtype=torch.float64) + 0.1 * torch.randn(size, size, dtype=torch.float64)
    arguments = (_linear(matrix), _no_input(40), torch.ones(1, size, dtype=torch.float64))

    once = lyapunov_exponents(*arguments, tangent_burn_in=tangent_burn_in)
    often = lyapunov_exponents(*arguments, tangent_burn_in=tangent_burn_in, interval=interval)

    torch.testing.assert_close(often.exponents, once.exponents, rtol=1e-8, atol=1e-10)
    assert once.times == often.times == 40 - tangent_burn_in


def test_an_interval_that_is_too_long_is_reported():
    """diag(1, 0.01) for 5 times pulls the second vector into the first by 1e-10: below sqrt(eps) of float64."""
    matrix = torch.diag(torch.tensor([1.0, 0.01], dtype=torch.float64))
    state = torch.ones(1, 2, dtype=torch.float64)
    with pytest.warns(UserWarning, match=r"interval=5 .* parallel .* shorter interval"):
        lyapunov_exponents(_linear(matrix), _no_input(20), state, interval=5)
    lyapunov_exponents(_linear(matrix), _no_input(20), state, interval=3)  # warnings are errors here


def test_overflow_between_two_decompositions_is_reported():
    """10^400 does not fit into float64."""
    with pytest.warns(UserWarning, match="shorter interval"):
        lyapunov_exponents(
            _linear(10 * torch.eye(2, dtype=torch.float64)),
            _no_input(400),
            torch.zeros(1, 2, dtype=torch.float64),
            interval=400,
        )


def test_the_interval_of_confidence_is_students_over_the_sequences():
    """Four scalar recurrences of different factors: mean and t interval by hand (t_0.975 with 3 degrees: 3.1824)."""
    factors = torch.tensor([0.5, 0.6, 0.7, 0.8], dtype=torch.float64)[:, None]
    result = lyapunov_exponents(lambda _, z: factors * z, _no_input(5, 4), torch.ones(4, 1, dtype=torch.float64))

    logs = [math.log(factor) for factor in (0.5, 0.6, 0.7, 0.8)]
    mean = sum(logs) / 4
    half = 3.1824 * math.sqrt(sum((x - mean) ** 2 for x in logs) / 3) / 2
    assert result.exponents.item() == pytest.approx(mean, abs=1e-12)
    assert result.low.item() == pytest.approx(mean - half, abs=5e-3 * half)
    assert result.high.item() == pytest.approx(mean + half, abs=5e-3 * half)


def test_one_sequence_has_no_interval():
    """NaN, and not a width of 0."""
    result = lyapunov_exponents(_linear(torch.eye(2, dtype=torch.float64)), _no_input(3), torch.ones(1, 2).double())
    assert result.low.isnan().all()
    assert result.high.isnan().all()


def test_a_direction_that_is_lost_has_an_exponent_of_minus_infinity():
    """A dead relu: the derivative is exactly 0."""
    cell = nn.RNNCell(1, 1, nonlinearity="relu").double()
    with torch.no_grad():
        cell.bias_ih.fill_(-10)
    result = lyapunov_exponents(cell, torch.zeros(4, 2, 1).double(), torch.zeros(2, 1).double())
    assert result.exponents.tolist() == [-math.inf]


def test_float32_stays_float32_and_the_exponents_are_sums_in_float64():
    """A thousand times log 0.9 adds up without losing digits."""
    result = lyapunov_exponents(lambda _, z: 0.9 * z, torch.zeros(1000, 1, 0), torch.ones(1, 3))
    torch.testing.assert_close(
        result.exponents, torch.full((3,), math.log(0.9), dtype=torch.float64), rtol=1e-6, atol=0
    )


@pytest.mark.parametrize(
    ("exponents", "expected"),
    [
        ([0.41922, -1.62319], 1.25827),  # Henon
        ([0.9056, 0.0, -14.5723], 2.06215),  # Lorenz
        ([-0.1, -0.2], 0.0),  # a fixed point
        ([0.3, 0.1], 2.0),
        ([-14.5723, 0.9056, 0.0], 2.06215),  # in any order
    ],
)
def test_the_dimension_of_known_attractors(exponents, expected):
    """Kaplan & Yorke's formula with published exponents."""
    assert kaplan_yorke_dimension(torch.tensor(exponents)) == pytest.approx(expected, abs=1e-5)


def test_entropy_and_predictability():
    """The positive exponents add up; the largest says when an error has doubled."""
    exponents = torch.tensor([0.5, 0.25, -1.0])
    assert entropy_rate(exponents) == 0.75
    assert predictability_time(exponents) == pytest.approx(2 * math.log(2))
    assert predictability_time(torch.tensor([-0.5])) == math.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"k": 3}, "between 1 and 2, the size of the full state, got 3"),
        ({"k": 0}, "got 0"),
        ({"interval": 0}, "interval must be at least 1"),
        ({"burn_in": 3, "tangent_burn_in": 2}, "inputs have 5 times, and burn_in 3 with tangent_burn_in 2 leaves none"),
        ({"confidence": 95.0}, "between 0 and 1, got 95"),
    ],
)
def test_numbers_out_of_range_are_refused(options, message):
    """The message says what was expected and got."""
    with pytest.raises(UsageError, match=message):
        lyapunov_exponents(_linear(torch.eye(2)), torch.zeros(5, 1, 0), torch.ones(1, 2), **options)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_numbers():
    """The tangent vectors start from the same random frame on every device."""
    torch.manual_seed(0)
    cell, x, h = nn.GRUCell(3, 8).double(), torch.randn(30, 4, 3).double(), torch.zeros(4, 8).double()
    here = lyapunov_exponents(cell, x, h, k=4)
    there = lyapunov_exponents(cell.cuda(), x.cuda(), h.cuda(), k=4)
    assert there.exponents.device.type == "cuda"
    torch.testing.assert_close(there.per_sequence.cpu(), here.per_sequence, rtol=1e-9, atol=1e-9)

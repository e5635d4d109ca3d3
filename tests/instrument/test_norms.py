"""Norms that do not underflow before the gradient does."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradscope.dynamics.weight_gradient import weight_gradient_norm
from gradscope.instrument.norms import vector_norm


@given(exponents=st.lists(st.floats(-44, 37), min_size=1, max_size=6), size=st.integers(1, 9))
def test_norm_over_the_whole_range_of_float32(exponents: list[float], size: int) -> None:
    """From the smallest subnormal number to the largest finite one, each vector's norm is right to rounding."""
    vectors = torch.stack([torch.full((size,), 10.0**e, dtype=torch.float64) for e in exponents]).float()
    expected = [math.sqrt(size) * float(row[0]) for row in vectors]
    torch.testing.assert_close(vector_norm(vectors), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=0.0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_zeros_and_non_finite_entries(dtype: torch.dtype) -> None:
    """Zero stays zero, infinity stays infinite and NaN stays NaN, beside ordinary vectors."""
    vectors = torch.tensor([[0.0, 0.0], [3.0, 4.0], [math.inf, 1.0], [math.nan, 1.0]], dtype=dtype)
    expected = torch.tensor([0.0, 5.0, math.inf, math.nan], dtype=torch.float64)
    torch.testing.assert_close(vector_norm(vectors), expected, equal_nan=True)


@given(
    time=st.integers(1, 4),
    batch=st.integers(1, 12),
    rows=st.integers(1, 12),
    hidden=st.integers(1, 6),
    exponent=st.integers(-30, 10),
    state_exponent=st.sampled_from([0, 0, -23, 19]),
    seed=st.integers(0, 999),
)
def test_weight_gradient_norm_equals_that_of_the_matrix(
    time: int, batch: int, rows: int, hidden: int, exponent: int, state_exponent: int, seed: int
) -> None:
    """By Gram's identity or by the matrix itself, at any scale, the norm is that of the float64 matrix."""
    generator = torch.Generator().manual_seed(seed)
    delta = torch.randn(time, batch, rows, generator=generator) * 10.0**exponent
    before = torch.randn(time, batch, hidden, generator=generator) * 10.0**state_exponent
    expected = (delta.double().mT @ before.double()).flatten(1).norm(dim=1)
    scale = delta.double().flatten(1).norm(dim=1)
    torch.testing.assert_close(
        weight_gradient_norm(delta.clone(), before, scale),
        expected,
        rtol=1e-4,
        atol=1e-5 * float(scale.max()) * 10.0**state_exponent,
    )

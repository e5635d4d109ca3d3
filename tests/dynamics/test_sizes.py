"""Norms against the same in float64, and against math.hypot where float64 itself would under- or overflow."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradscope.dynamics import norm_per_sequence


@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=6), st.integers(-40, 37))
def test_float32_norms_neither_underflow_nor_overflow(values, power):
    """From 1e-40 to 1e37, as float64 has them; below, the spacing of the dtype itself."""
    vector = torch.tensor(values) * 10.0**power
    expected = vector.double().norm()
    assert float(norm_per_sequence(vector)) == pytest.approx(float(expected), rel=1e-5, abs=3e-45)


def test_float64_has_the_same_range():
    """Squares of 1e-200 and of 1e200 do not fit into float64."""
    vectors = torch.tensor([[3e-200, 4e-200], [3e200, 4e200], [0.0, 0.0]], dtype=torch.float64)
    assert norm_per_sequence(vectors).tolist() == pytest.approx([5e-200, 5e200, 0.0], rel=1e-14)


def test_what_is_not_finite_stays_so():
    """NaN is NaN, infinity is infinity, and the others are right."""
    vectors = torch.tensor([[math.nan, 1.0], [math.inf, 1.0], [3.0, 4.0]])
    norms = norm_per_sequence(vectors)
    assert norms[0].isnan()
    assert norms[1:].tolist() == [math.inf, 5.0]

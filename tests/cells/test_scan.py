"""The linear recurrence, against the loop in float64."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradscope.cells.scan import scan


@given(
    time=st.integers(1, 70),
    batch=st.integers(1, 3),
    units=st.sampled_from((1, 5, 300)),
    seed=st.integers(0, 2**31),
    decay=st.sampled_from((0.1, 0.9, 1.0)),
)
def test_equals_the_loop(time: int, batch: int, units: int, seed: int, decay: float) -> None:
    """For few and for many elements a time x_t = a_t x_{t-1} + b_t holds, and a_t is left as it was."""
    torch.manual_seed(seed)
    factors, terms, first = (
        torch.rand(time, batch, units) * decay,
        torch.randn(time, batch, units),
        torch.rand(batch, units),
    )
    expected, before = [], first.double()
    for factor, term in zip(factors.double(), terms.double(), strict=True):
        before = factor * before + term
        expected.append(before)
    given_factors = factors.clone()
    scan(factors, terms, first)
    torch.testing.assert_close(terms.double(), torch.stack(expected), rtol=1e-5, atol=1e-5)
    assert torch.equal(factors, given_factors)


@pytest.mark.parametrize("units", [4, 600])
def test_reaches_over_a_long_sequence(units: int) -> None:
    """Nothing but a first value, and nothing forgotten: it arrives after 1000 times."""
    terms = torch.zeros(1000, 1, units)
    scan(torch.ones(1000, 1, units), terms, torch.full((1, units), 3.0))
    assert torch.equal(terms, torch.full((1000, 1, units), 3.0))

"""The proof of growth under many losses holds for real linear recurrences."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.analysis.amplification import amplification


def _table(direct, total, iteration=0):
    return pd.DataFrame({
        "iteration": iteration, "call": 0, "time": np.arange(len(direct)),
        "direct_gradient_norm": direct, "total_gradient_norm": total,
    })  # fmt: skip


def _adjoint(factor, direct):
    total = np.zeros_like(direct)
    carried = np.zeros(direct.shape[1:])
    for time in reversed(range(len(direct))):
        carried = direct[time] + factor * carried
        total[time] = carried
    return total


@settings(deadline=None)
@given(factor=st.floats(0.0, 1.0), seed=st.integers(0, 1000))
def test_no_contracting_recurrence_is_said_to_amplify(factor, seed):
    """With a factor of at most 1 a step the ratio never exceeds 1, whatever the direct gradients are."""
    direct = np.random.default_rng(seed).normal(size=(20, 6, 3))
    norms = [np.linalg.norm(x, axis=2).mean(axis=1) for x in (direct, _adjoint(factor, direct))]
    assert amplification(_table(*norms)) <= 1 + 1e-9
    assert amplification(_table(*(x[::-1] for x in norms)), reverse=True) <= 1 + 1e-9


def test_growth_is_measured_from_below():
    """A scalar recurrence with factor 1.5 and one loss at the end grows by 1.5 to the 19."""
    direct = np.zeros((20, 1, 1))
    direct[-1] = 1.0
    norms = [np.linalg.norm(x, axis=2).mean(axis=1) for x in (direct, _adjoint(1.5, direct))]
    assert amplification(_table(*norms)) == pytest.approx(1.5**19)


def test_nothing_recorded_has_no_amplification():
    """No rows, or no direct gradient: NaN."""
    assert np.isnan(amplification(_table([], [])))
    assert np.isnan(amplification(_table([0.0, 0.0], [0.0, 0.0])))

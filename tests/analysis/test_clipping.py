"""Clipping statistics against gradients that were clipped here."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.analysis import clipping_statistics


def _table(norm, coefficient, cosine=None):
    cosine = np.ones(len(norm)) if cosine is None else cosine
    return pd.DataFrame({"gradient_norm": norm, "clip_coefficient": coefficient, "clip_cosine": cosine}, dtype=float)


@settings(deadline=None)
@given(norms=st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=60), threshold=st.floats(1e-2, 1e2))
def test_norm_clipping_is_counted_exactly(norms, threshold):
    """The share clipped is the share of norms above the threshold, the coefficient threshold over norm."""
    coefficient = np.minimum(1, threshold / np.array(norms))
    found = clipping_statistics(_table(norms, coefficient))
    clipped = int((coefficient < 1 - 1e-6).sum())
    assert (found.recorded, found.clipped, found.clipped_share) == (len(norms), clipped, clipped / len(norms))
    assert found.norm.q10 <= found.norm.median <= found.norm.q90
    assert found.norm.median in norms
    assert (found.cosine.q10, found.cosine.median) == (1.0, 1.0)


@pytest.mark.parametrize(("bound", "cosine"), [(0.1, 0.8186), (0.3, 0.8567), (1.0, 0.9503), (2.0, 0.9948)])
def test_value_clipping_bends_a_gaussian_gradient_as_known(bound, cosine):
    """The closed form of value clipping of a standard normal gradient (truth T12)."""
    gradient = np.random.default_rng(0).normal(size=(20, 20_000))
    clipped = np.clip(gradient, -bound, bound)
    before, after = np.linalg.norm(gradient, axis=1), np.linalg.norm(clipped, axis=1)
    found = clipping_statistics(_table(before, after / before, (gradient * clipped).sum(axis=1) / before / after))
    assert found.cosine.median == pytest.approx(cosine, abs=2e-3)
    assert found.clipped_share == 1.0


def test_rows_that_were_not_recorded_do_not_count():
    """An unrecorded iteration has NaN and is neither clipped nor not clipped."""
    found = clipping_statistics(_table([1.0, np.nan, 4.0], [1.0, np.nan, 0.25], [1.0, np.nan, 1.0]))
    assert (found.recorded, found.clipped_share, found.coefficient.q10) == (2, 0.5, 0.25)


def test_nothing_recorded_is_no_number():
    """An empty table gives NaN and no warning."""
    found = clipping_statistics(_table([], []))
    np.testing.assert_equal((found.recorded, found.clipped_share, found.norm.median), (0, np.nan, np.nan))


def test_an_infinite_norm_is_a_quantile_like_any_other():
    """Between finite and infinite nothing is interpolated."""
    assert clipping_statistics(_table([1.0, np.inf], [1.0, 0.0])).norm.q90 == np.inf

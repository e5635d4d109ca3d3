"""The small pieces of statistics that have closed forms."""

import numpy as np
import pytest

from gradscope.analysis.bootstrap import Resampled, fit_slope, resample_log_mean


def test_slopes_are_those_of_least_squares():
    """The one matrix product gives what numpy's polyfit gives for every resample."""
    rng = np.random.default_rng(0)
    x = np.arange(5.0, 25.0)
    data = resample_log_mean(np.exp(rng.normal(size=(20, 7))), floor=1e-30, resamples=30, seed=1, groups=None)
    fit, left_over = fit_slope(x, data)
    expected = [np.polyfit(x, row, 1, full=True)[1][0] for row in data.resamples]
    np.testing.assert_allclose(left_over, expected)
    assert fit.slope == pytest.approx(np.polyfit(x, data.measured, 1)[0])


def test_the_interval_allows_for_few_sequences():
    """Student's t times the standard deviation that resamples of n sequences would have if n - 1 were not counted."""
    x, data = np.arange(4.0), Resampled(np.array([3.0, 2.0, 1.0, 0.0]), np.outer([0.5, 1.0, 1.5], -np.arange(4.0)), 3)
    fit, _ = fit_slope(x, data)
    half = 4.30265 * np.std([0.5, 1.0, 1.5]) * np.sqrt(3 / 2)
    np.testing.assert_allclose([fit.slope, fit.low, fit.high], [-1, -1 - half, -1 + half], rtol=1e-5)


def test_resampling_groups_keeps_their_sequences_together():
    """Of two groups of constant norms a resample's mean can only be one of three values."""
    values = np.repeat([[1.0, 1.0, 1.0, 4.0, 4.0, 4.0]], 3, axis=0)
    data = resample_log_mean(values, floor=1e-30, resamples=200, seed=0, groups=np.array([7, 7, 7, 9, 9, 9]))
    assert sorted(set(np.exp(data.resamples).round(9).ravel())) == [1.0, 2.5, 4.0]
    assert data.independent == 2


def test_a_resample_of_zeros_alone_is_at_the_floor():
    """Never minus infinity, which would make every interval NaN."""
    values = np.array([[1.0, 1.0], [0.0, 1.0]])
    data = resample_log_mean(values, floor=1e-30, resamples=200, seed=0, groups=None)
    assert data.resamples.min() == pytest.approx(np.log(1e-30))

"""The adding problem's data."""

import numpy as np
import pytest

from gradscope.errors import UsageError
from gradscope.tasks import Adding


def test_target_is_the_sum_of_the_two_marked_numbers():
    """Multiplying numbers by markers and summing over time gives the target back."""
    inputs, targets = Adding(length=100).batch(np.random.default_rng(0), 64)

    assert inputs.shape == (100, 64, 2)
    assert targets.shape == (64, 1)
    np.testing.assert_allclose((inputs[:, :, 0] * inputs[:, :, 1]).sum(axis=0)[:, None], targets, rtol=1e-6)


def test_one_marker_lies_in_each_half():
    """The first and the second half of an odd length hold one marker each."""
    inputs, _ = Adding(length=11).batch(np.random.default_rng(1), 500)
    marker = inputs[:, :, 1]

    assert marker[:5].sum(axis=0).tolist() == [1] * 500
    assert marker[5:].sum(axis=0).tolist() == [1] * 500
    assert set(marker.argmax(axis=0).tolist()) == {0, 1, 2, 3, 4}


def test_baseline_is_the_error_of_the_mean():
    """1/6 is the mean squared error of always answering 1."""
    _, targets = Adding(length=10).batch(np.random.default_rng(2), 100_000)

    assert float(((targets - 1) ** 2).mean()) == pytest.approx(Adding().baseline, rel=0.02)


def test_same_seed_gives_the_same_batch():
    """Data depends on the generator alone."""
    first, second = (Adding().batch(np.random.default_rng(7), 4) for _ in range(2))

    np.testing.assert_array_equal(first.inputs, second.inputs)
    np.testing.assert_array_equal(first.targets, second.targets)


def test_lag_is_three_quarters_unless_given():
    """The median distance of the earlier marker from the end, or what the user says."""
    assert Adding(length=100).lag == 75
    assert Adding(length=100, lag=99).lag == 99


def test_too_short_a_sequence_is_refused():
    """Two halves with a marker each need a few times."""
    with pytest.raises(UsageError, match="at least 4 times, got 3"):
        Adding(length=3)

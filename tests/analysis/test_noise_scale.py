"""The gradient noise scale of gradients whose signal and noise are known."""

import numpy as np
import pytest

from gradscope.analysis.noise_scale import gradient_noise_scale
from gradscope.errors import UsageError


def test_the_known_noise_scale_is_found():
    """Mean gradient of length 2, noise of variance 0.5 in each of 30 directions: 15/4 sequences."""
    rng = np.random.default_rng(0)
    mean = np.zeros(30)
    mean[0] = 2.0
    one = mean + np.sqrt(0.5) * rng.normal(size=(4000, 16, 30))
    small = np.linalg.norm(one[:, :4].mean(axis=1), axis=1)
    large = np.linalg.norm(one.mean(axis=1), axis=1)
    assert gradient_noise_scale(small, large, 4, 16) == pytest.approx(3.75, rel=0.03)


def test_equal_norms_are_free_of_noise():
    """A gradient that is the same in every batch."""
    assert gradient_noise_scale(np.full(5, 3.0), np.full(7, 3.0), 2, 8) == 0.0


def test_a_gradient_of_nothing_but_noise_has_no_scale():
    """|g_B|^2 that falls as 1/B leaves no signal."""
    assert gradient_noise_scale(np.array([2.0]), np.array([1.0]), 1, 4) == np.inf


@pytest.mark.parametrize(("small", "large"), [(4, 4), (8, 4), (0, 4)])
def test_two_batch_sizes_are_needed(small, large):
    """One equation has two unknowns."""
    with pytest.raises(UsageError, match="Two batch sizes"):
        gradient_noise_scale(np.ones(3), np.ones(3), small, large)


def test_norms_are_needed():
    """No norms of one size."""
    with pytest.raises(UsageError, match="both batch sizes"):
        gradient_noise_scale(np.ones(3), np.empty(0), 1, 2)

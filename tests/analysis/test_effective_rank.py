"""Effective rank of states whose directions are known."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.analysis.effective_rank import effective_rank


def _states(strengths, seed=0, times=50, sequences=8):
    """States that move with these strengths along as many orthogonal directions of a space of ten, far from 0."""
    rng = np.random.default_rng(seed)
    directions = np.linalg.qr(rng.normal(size=(10, 10)))[0][: len(strengths)]
    along = rng.normal(size=(times * sequences, len(strengths)))
    along = np.linalg.qr(along - along.mean(axis=0))[0] * strengths
    return (along @ directions + 5.0).reshape(times, sequences, 10)


@given(directions=st.integers(1, 10), seed=st.integers(0, 1000))
def test_equally_strong_directions_are_counted(directions, seed):
    """Both ways to count give their number, however far the mean is from 0."""
    found = effective_rank([_states(np.ones(directions), seed)])
    assert found.entropy == pytest.approx(directions, rel=1e-6)
    assert found.participation == pytest.approx(directions, rel=1e-6)
    assert (found.units, found.samples) == (10, 400)


def test_weak_directions_count_less():
    """Singular values 3 and 1: entropy of (3/4, 1/4), and (9 + 1)^2 / (81 + 1)."""
    found = effective_rank([_states(np.array([3.0, 1.0]))])
    entropy = -(0.75 * np.log(0.75) + 0.25 * np.log(0.25))
    assert found.entropy == pytest.approx(np.exp(entropy), rel=1e-9)
    assert found.participation == pytest.approx(100 / 82, rel=1e-9)


def test_states_that_never_change_have_no_direction():
    """Rank 0, not the noise of rounding; a single state says nothing."""
    found = effective_rank([np.full((20, 3, 4), 0.1)])
    assert (found.entropy, found.participation) == (0.0, 0.0)
    assert effective_rank([np.ones((1, 1, 4))]) is None
    assert effective_rank([]) is None

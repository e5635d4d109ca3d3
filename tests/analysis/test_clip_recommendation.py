"""A threshold is recommended as a guard where large gradients are rare, and called a limiter where they are not."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.analysis.clip_recommendation import recommend_threshold


def _log_normal(deviation, count=400, seed=0):
    return np.exp(deviation * np.random.default_rng(seed).normal(size=count))


def test_rare_spikes_ask_for_a_guard():
    """The guard stands between the body of the norms and the spikes, and acts on the spikes alone."""
    norms = _log_normal(0.2)
    norms[[120, 250, 380]] = 50.0
    found = recommend_threshold(norms)
    assert (found.role, found.outliers, found.recorded, found.largest) == ("guard", 3, 400, 50.0)
    assert np.delete(norms, [120, 250, 380]).max() < found.threshold < 50
    assert found.clipped_share == 2 / 200
    assert "acts on 3 of 400 gradients (2 of them in the later half)" in found.reason


def test_three_deviations_of_a_log_normal():
    """With a deviation of 0.5 the guard is e^1.5 times the median, up to the scatter of a sample."""
    found = recommend_threshold(_log_normal(0.5, count=20_000))
    assert found.threshold / found.typical == pytest.approx(np.exp(1.5), rel=0.1)


def test_nothing_to_guard_against_is_said():
    """Steady norms: a guard at three times the median that has had nothing to do."""
    found = recommend_threshold(_log_normal(0.05))
    assert (found.role, found.outliers, found.clipped_share) == ("guard", 0, 0.0)
    assert found.threshold == pytest.approx(3 * found.typical)
    assert "has had nothing to do" in found.reason


def test_many_large_gradients_are_no_outliers():
    """One in five is a hundred times larger: whatever stops them sets the size of steps."""
    norms = _log_normal(0.1)
    norms[::5] *= 100
    found = recommend_threshold(norms)
    assert found.role == "step-size limiter"
    assert found.threshold == pytest.approx(found.typical)
    assert "20 % of the later gradients" in found.reason


def test_the_start_of_training_does_not_decide():
    """Large gradients of the first half alone raise no threshold."""
    settled = _log_normal(0.1, count=200)
    found = recommend_threshold(np.concatenate([1000 * settled, settled]))
    assert found.threshold < 10
    assert found.clipped_share == 0


@given(norms=st.lists(st.floats(1e-6, 1e6), min_size=20, max_size=60).map(np.array), factor=st.floats(1e-3, 1e3))
def test_the_unit_of_the_loss_does_not_matter(norms, factor):
    """A loss multiplied by a factor multiplies the threshold by it and changes nothing else."""
    one, other = recommend_threshold(norms), recommend_threshold(factor * norms)
    assert other.threshold == pytest.approx(factor * one.threshold, rel=1e-9)
    assert other.role == one.role


@pytest.mark.parametrize("norms", [np.empty(0), np.ones(18), np.zeros(100)], ids=["none", "few", "only zeros"])
def test_too_few_norms_give_no_recommendation(norms):
    """Nine later norms, or none above 0, are nothing to recommend from."""
    assert recommend_threshold(norms) is None

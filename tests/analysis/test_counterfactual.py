"""Clipping schemes replayed on logged norms, against the schemes run on real gradients or written out plainly."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from gradscope.analysis.counterfactual import (
    logged_norms,
    replay_autoclip,
    replay_norm_clipping,
    replay_zclip,
    replays,
)
from gradscope.errors import UsageError

NORMS = st.lists(st.floats(1e-3, 1e3), min_size=1, max_size=80).map(np.array)


@given(norms=NORMS, threshold=st.floats(1e-2, 1e2))
def test_norm_clipping_is_what_torch_does_to_a_gradient_of_that_norm(norms, threshold):
    """Gradients of the logged norms, handed to clip_grad_norm_, keep the replayed share of their length."""
    left = []
    for norm in norms:
        parameter = torch.nn.Parameter(torch.zeros(5, dtype=torch.float64))
        direction = torch.arange(1.0, 6.0, dtype=torch.float64)
        parameter.grad = norm * direction / direction.norm()
        torch.nn.utils.clip_grad_norm_([parameter], threshold)
        left.append(float(parameter.grad.norm()) / norm)
    # torch adds 1e-6 to the norm that it divides by.
    np.testing.assert_allclose(replay_norm_clipping(norms, threshold).coefficient, left, rtol=2e-3)


@given(norms=NORMS, percentile=st.floats(0, 100))
def test_autoclip_takes_the_percentile_of_all_norms_so_far(norms, percentile):
    """Numpy's percentile of a growing list, the present norm in it."""
    found = replay_autoclip(norms, percentile)
    expected = [np.percentile(norms[: i + 1], percentile) for i in range(len(norms))]
    np.testing.assert_allclose(found.threshold, expected, rtol=1e-12)
    np.testing.assert_allclose(found.coefficient, np.minimum(1.0, expected / norms), rtol=1e-12)


def _zclip_by_hand(norms, alpha, z_threshold, warm_up):
    """Norms after ZClip, the algorithm one norm at a time."""
    after, buffer, mean, variance = [], [], None, None
    for norm in norms:
        if mean is None:
            buffer.append(norm)
            after.append(norm)
            if len(buffer) == warm_up:
                mean = sum(buffer) / warm_up
                variance = sum((value - mean) ** 2 for value in buffer) / warm_up
            continue
        deviation = variance**0.5
        z = (norm - mean) / deviation if deviation > 0 else (np.inf if norm > mean else 0.0)
        kept = mean + z_threshold * deviation / (z / z_threshold) if z > z_threshold else norm
        after.append(kept)
        mean = alpha * mean + (1 - alpha) * kept
        variance = alpha * variance + (1 - alpha) * (kept - mean) ** 2
    return np.array(after)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("alpha", "z", "warm_up"), [(0.97, 2.5, 25), (0.9, 1.0, 3)])
def test_zclip_is_the_published_algorithm(seed, alpha, z, warm_up):
    """A log-normal course with spikes, cut one norm at a time by hand."""
    rng = np.random.default_rng(seed)
    norms = np.exp(0.3 * rng.normal(size=300)) * np.linspace(3, 1, 300)
    norms[rng.integers(0, 300, size=6)] *= 20
    found = replay_zclip(norms, alpha, z, warm_up)
    np.testing.assert_allclose(found.coefficient * norms, _zclip_by_hand(norms, alpha, z, warm_up), rtol=1e-9)
    assert found.clipped_share > 0


def test_zclip_leaves_the_warm_up_and_equal_norms_alone():
    """Nothing is clipped in the first 25, nor where every norm is the same."""
    norms = np.ones(60)
    norms[10] = 100.0
    assert (replay_zclip(norms).coefficient[:25] == 1).all()
    assert (replay_zclip(np.ones(60)).coefficient == 1).all()


def test_a_spike_is_cut_closer_to_the_mean_the_larger_it_is():
    """Mean + 2.5^2/z deviations: at z = 25 a quarter of a deviation above the mean."""
    rng = np.random.default_rng(0)
    quiet = rng.normal(10, 1, size=25)
    spike = quiet.mean() + 25 * quiet.std()
    found = replay_zclip(np.append(quiet, spike))
    assert found.threshold[-1] == pytest.approx(quiet.mean() + 0.25 * quiet.std(), rel=1e-12)


def test_only_finite_logged_norms_are_replayed():
    """Iterations that were not recorded, and exploded ones, have no norm to replay."""
    table = pd.DataFrame({"gradient_norm": [1.0, np.nan, np.inf, 3.0]})
    assert logged_norms(table).tolist() == [1.0, 3.0]


def test_what_is_said_of_a_replay():
    """Share, quantiles and largest norm of one that can be counted on the fingers."""
    found, autoclip, zclip = replays(np.array([1.0, 2.0, 4.0, 8.0]), [2.0])
    assert (found.scheme, autoclip.scheme, zclip.scheme) == ("norm(2)", "AutoClip(10 %)", "ZClip")
    assert found.coefficient.tolist() == [1.0, 1.0, 0.5, 0.25]
    assert (found.clipped_share, found.largest_norm, found.quantiles.q10) == (0.5, 2.0, 0.25)


def test_no_norms_give_an_empty_replay():
    """Nothing recorded: no share, no error."""
    for found in replays(np.empty(0), [1.0]):
        assert np.isnan([found.clipped_share, found.largest_norm, found.quantiles.median]).all()


@pytest.mark.parametrize("threshold", [0.0, -1.0, float("nan")])
def test_a_threshold_is_positive(threshold):
    """Zero, negative and NaN are mistakes."""
    with pytest.raises(UsageError, match="positive number"):
        replay_norm_clipping(np.ones(3), threshold)


def test_a_percentile_is_between_0_and_100():
    """A share of 1.2 percent is fine, 120 is not."""
    with pytest.raises(UsageError, match="between 0 and 100"):
        replay_autoclip(np.ones(3), 120.0)

"""The rule of the verdict, and sentences that say it with numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.analysis import fit_decay, underflow_floor, verdict
from gradscope.analysis.decay import over_groups
from tests.planted import exponential

FLOOR = underflow_floor("float32")


def _judge(norms, lag=None, **given):
    return verdict(fit_decay(norms, floor=FLOOR, resamples=200), lag, **given)


@settings(deadline=None)
@given(rate=st.floats(-1.0, 1.0), lag=st.integers(1, 200), times=st.integers(5, 60))
def test_an_exact_decay_is_judged_by_the_rule(rate, lag, times):
    """Above 0 explodes, less than 1 % left at the lag vanishes, the rest is marginal, for any lag."""
    left = np.exp(rate * lag)
    if abs(rate * lag) > 0.01 and abs(left - 0.01) > 1e-4:
        expected = "exploding" if rate > 0 else "vanishing" if left < 0.01 else "marginal"
        found = _judge(exponential(rate, times, 4), lag)
        assert found.kind == expected
        np.testing.assert_allclose([found.growth, found.share_at_lag], [left, left], rtol=1e-6)


@pytest.mark.parametrize("rate", [-0.02, 0.02])
def test_an_interval_across_zero_is_marginal(rate):
    """Where growth and shrinkage cannot be told apart nothing is claimed."""
    norms = exponential(rate, 30, 3, noise=2.0, seed=1)
    found = _judge(norms, 1000)
    assert found.kind == "marginal"
    assert "whether it shrinks or grows on the way cannot be told apart" in found.reason


def test_a_rounding_error_does_not_explode():
    """A constant up to the rounding of float32, always upwards, is marginal."""
    assert _judge(exponential(1e-7, 100, 8)).kind == "marginal"


def test_the_longest_lag_stands_in_for_an_unknown_one():
    """Without the task's lag the verdict says that it judged by what can be measured."""
    found = _judge(exponential(-0.1, 60, 4))
    assert (found.kind, found.lag) == ("vanishing", 59)
    assert "Over the 59 time steps that can be measured" in found.reason


def test_a_vanishing_gradient_is_said_in_words_with_its_numbers():
    """The sentence that a practitioner reads."""
    assert _judge(exponential(-0.25, 100, 4), 80).reason == (
        "The gradient shrinks by 22 % a time step back and halves every 2.77 (rate -0.25, 95 % interval -0.25 to "
        "-0.25). Over the 80 time steps that the task has to look back 2.1e-07 % of it is left. "
        "From 19 time steps back on less than 1 % arrives."
    )


def test_an_exploding_gradient_is_said_in_words_with_its_numbers():
    """The other sentence."""
    assert _judge(exponential(0.1, 100, 4), 99).reason == (
        "The gradient grows by 11 % a time step back and doubles every 6.93 (rate +0.1, 95 % interval +0.1 to +0.1). "
        "Over the 99 time steps that the task has to look back it grows 19,900-fold by this rate; "
        "measured: 19,900-fold."
    )


def test_underflow_is_evidence():
    """A gradient that is exactly 0 from some lag on vanishes, and the reason says from where."""
    norms = exponential(-5.0, 60, 4).astype(np.float32).astype(np.float64)
    found = _judge(norms)
    assert (found.kind, found.share_at_lag) == ("vanishing", 0.0)
    assert "exactly nothing of it is left" in found.reason
    assert "From 21 time steps back on it is exactly 0 in every sequence: it has underflowed." in found.reason


def test_a_gradient_that_dies_at_once_vanishes():
    """Rate minus infinity is a verdict, not a crash."""
    norms = np.zeros((20, 4))
    norms[-1] = 1.0
    found = _judge(norms)
    assert (found.kind, found.growth) == ("vanishing", 0.0)
    assert found.reason.startswith("The gradient is exactly 0 one time step before the loss already.")


def test_a_power_law_is_judged_by_what_is_left_and_not_by_a_half_life():
    """Lag to the power -1 leaves 1.3 % at lag 80, though a half-life fitted to it would promise less."""
    lags = np.maximum(np.arange(400)[::-1, None], 1.0)
    near, far = (_judge(np.repeat(1 / lags, 4, axis=1), lag) for lag in (80, 200))
    assert (near.kind, far.kind) == ("marginal", "vanishing")
    np.testing.assert_allclose([near.growth, far.growth], [1 / 80, 1 / 200])
    np.testing.assert_allclose(_judge(np.repeat(1 / lags, 4, axis=1), 4000).growth, 1 / 4000, rtol=1e-6)


def test_a_drop_at_the_readout_is_no_decay_through_time():
    """Half a percent left, all lost in the first lag, is not called vanishing, and the reason says why."""
    norms = np.full((60, 4), 0.005)
    norms[-1] = 1.0
    found = _judge(norms)
    assert found.kind == "marginal"
    assert "0.5 % of it is left: that is lost in the first time steps" in found.reason


def test_losses_at_many_times_are_never_judged():
    """A sum over many lags is not a lag profile, however steep it looks."""
    found = _judge(exponential(-0.5, 60, 4), 50, loss_times=60)
    assert found.kind == "mixed"
    assert "The loss enters at 60 time steps" in found.reason


@pytest.mark.parametrize(
    ("norms", "said"),
    [
        (np.zeros((9, 3)), "the loss does not reach this layer at all"),
        (np.ones((1, 3)), "The loss enters at the first time step that the layer reads"),
        (np.full((9, 3), np.nan), "No sequence has a finite gradient"),
        (np.zeros((0, 0)), "No sequence has a finite gradient"),
        (exponential(-0.5, 6, 1), "one sequence is too little to judge by"),
    ],
)
def test_where_nothing_can_be_judged_the_reason_says_why(norms, said):
    """Marginal, with the plain cause."""
    found = _judge(norms)
    assert found.kind == "marginal"
    assert said in found.reason


@settings(deadline=None)
@given(
    norms=st.integers(0, 10**6).map(
        lambda seed: np.random.default_rng(seed).choice(
            [0.0, 1e-320, 1e-30, 1.0, 3.0, 1e300, 1.7e308, np.inf, np.nan],
            size=np.random.default_rng(seed).integers(0, 7, size=2),
        )
    ),
    lag=st.one_of(st.none(), st.integers(0, 50)),
)
def test_any_norms_get_a_verdict(norms, lag):
    """No mixture of zeros, infinities, NaN and extremes raises or warns, and the reason has no bare nan in it."""
    found = _judge(norms, lag)
    assert found.kind in {"vanishing", "exploding", "marginal"}
    assert "nan" not in found.reason
    assert found.reason.endswith(".")


def test_a_seed_without_an_interval_is_no_single_sequence():
    """One of two seeds has no way back at all: what is pooled is not said to be one short sequence."""
    alive, dead = exponential(-0.05, 30, 4), np.zeros((30, 4))
    dead[-1] = 1.0
    seeds = [fit_decay(norms, floor=FLOOR) for norms in (alive, dead)]
    pooled = over_groups(fit_decay(np.hstack([alive, dead]), floor=FLOOR), seeds)
    reason = verdict(pooled, 20).reason
    assert "over all seeds; some of them alone give no interval" in reason
    assert "one short sequence" not in reason
    assert "one sequence" not in reason


def test_a_loss_at_the_first_time_that_is_read_is_said():
    """As of a reverse layer whose output at the last time is answered: it was recorded, and there is no way back."""
    norms = np.zeros((30, 4))
    norms[0] = 1.0
    assert _judge(norms).reason == (
        "The loss enters at the first time step that the layer reads: there is no way back to judge."
    )


def test_growth_beyond_all_numbers_is_not_infinitely_many():
    """Doubled 2,000 times it is larger than a float64 can be."""
    reason = _judge(exponential(np.log(2), 30, 4), 2000).reason
    assert "Over the 2,000 time steps that the task has to look back it grows more than 1e+308-fold" in reason
    assert "infinitely" not in reason


def test_a_single_norm_that_is_not_finite_is_singular():
    """And many have a separator."""
    norms = exponential(-0.1, 30, 4)
    norms[3, 1] = np.inf
    assert _judge(norms).reason.endswith(
        "1 norm is NaN or infinite, first 26 time steps back; it is left out of the fit."
    )
    norms = np.hstack([exponential(-0.1, 30, 4), np.full((30, 40), np.inf)])
    assert "1,200 norms are NaN or infinite" in _judge(norms).reason


def test_an_end_of_the_interval_that_rounds_to_zero_has_no_minus():
    """To the digits that have a meaning, it is 0."""
    decay = replace(fit_decay(exponential(0.5, 3, 4), floor=FLOOR), rate_low=-0.0001, rate_high=1.04)
    assert "95 % interval +0.00 to +1.04" in verdict(decay, 9).reason


def test_more_than_all_is_a_factor_and_no_percentage():
    """Where growth and shrinkage cannot be told apart it may be larger all the same."""
    decay = replace(fit_decay(exponential(0.5, 3, 4), floor=FLOOR), rate_low=-0.1, rate_high=1.04)
    reason = verdict(decay, 9).reason
    assert "it becomes 90 times as large: whether it shrinks or grows" in reason

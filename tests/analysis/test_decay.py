"""A decay of known rate is found, with an interval that covers it, and nothing is lost on the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gradscope.analysis import fit_decay, underflow_floor
from tests.planted import exponential

FLOOR = underflow_floor("float32")


@settings(deadline=None)
@given(
    rate=st.floats(-0.6, 0.6),
    times=st.integers(2, 130),
    sequences=st.integers(1, 20),
    scale=st.floats(1e-3, 1e3),
    seed=st.integers(0, 1000),
)
def test_an_exact_exponential_gives_its_rate(rate, times, sequences, scale, seed):
    """Sequences of any size that all change by exp(rate) a lag have that rate, and its half-life and horizon."""
    factors = np.random.default_rng(seed).uniform(0.5, 2, size=sequences) * scale
    decay = fit_decay(exponential(rate, times, 1) * factors, floor=FLOOR, resamples=50)
    np.testing.assert_allclose(decay.rate, rate, atol=1e-9)
    np.testing.assert_allclose(decay.share, np.exp(rate * np.arange(times)), rtol=1e-9)
    horizon = [lag for lag in range(times) if np.exp(rate * lag) <= 0.01]
    assert decay.horizon_lag == (horizon[0] if horizon else None)
    assert decay.half_life == pytest.approx(np.log(2) / abs(decay.rate)) if decay.rate else np.inf
    assert (decay.zeros, decay.nonfinite, decay.sequences, decay.lags) == (0, 0, sequences, times)


@settings(deadline=None)
@given(rate=st.floats(-0.5, 0.5), times=st.integers(20, 80), sequences=st.integers(2, 30), seed=st.integers(0, 10**6))
def test_the_interval_surrounds_the_rate(rate, times, sequences, seed):
    """The rate lies inside its own interval, and the same seed gives the same interval."""
    norms = exponential(rate, times, sequences, noise=0.3, seed=seed)
    first, second = (fit_decay(norms, floor=FLOOR, resamples=100, seed=3) for _ in range(2))
    assert first.rate_low <= first.rate <= first.rate_high
    assert (first.rate_low, first.rate_high) == (second.rate_low, second.rate_high)
    assert abs(first.rate - rate) < 0.2


def _scattered(rng, sequences, times=60, rate=-0.1, spread=0.5, memory=0.8, groups=1, group_spread=0.0):
    """Norms around an exact exponential whose scatter remembers the lag before, as that of real gradients does."""
    scatter = np.zeros((times, sequences))
    scatter[0] = rng.normal(size=sequences)
    for lag in range(1, times):
        scatter[lag] = memory * scatter[lag - 1] + np.sqrt(1 - memory**2) * rng.normal(size=sequences)
    rates = rate + np.repeat(group_spread * rng.normal(size=groups), sequences // groups)
    return np.exp(rates * np.arange(times)[:, None] + spread * scatter)[::-1]


@pytest.mark.parametrize("sequences", [3, 8, 32])
def test_the_interval_covers_the_true_rate_as_often_as_it_says(sequences):
    """Over 400 simulated batches the 95 % interval holds the true rate in 91 to 98 % of them."""
    rng = np.random.default_rng(sequences)
    decays = [fit_decay(_scattered(rng, sequences), floor=FLOOR, resamples=200, seed=i) for i in range(400)]
    covered = np.mean([decay.rate_low <= -0.1 <= decay.rate_high for decay in decays])
    assert 0.91 <= covered <= 0.98


def test_the_interval_over_training_seeds_covers_what_differs_between_them():
    """With three seeds whose rates differ, grouped resampling covers the true mean rate and ungrouped does not."""
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(3), 16)
    batches = [_scattered(rng, 48, groups=3, group_spread=0.01) for _ in range(300)]
    covered = {}
    for name, given_groups in (("grouped", groups), ("not", None)):
        decays = [fit_decay(norms, floor=FLOOR, resamples=200, groups=given_groups) for norms in batches]
        covered[name] = np.mean([decay.rate_low <= -0.1 <= decay.rate_high for decay in decays])
    assert covered["grouped"] >= 0.93
    assert covered["not"] < 0.8


def test_one_sequence_has_an_interval_from_its_stretches_or_none():
    """A long single sequence is judged by the scatter between stretches, a short one has an open interval."""
    rng = np.random.default_rng(0)
    decays = [fit_decay(_scattered(rng, 1), floor=FLOOR, resamples=10) for _ in range(200)]
    covered = np.mean([decay.rate_low <= -0.1 <= decay.rate_high for decay in decays])
    short = fit_decay(_scattered(rng, 1, times=10), floor=FLOOR)
    assert covered >= 0.95
    assert all(np.isfinite(decay.rate_low) for decay in decays)
    assert (short.rate_low, short.rate_high) == (-np.inf, np.inf)


@settings(deadline=None)
@given(exponent=st.floats(-4, -0.5), times=st.integers(30, 200), seed=st.integers(0, 100))
def test_a_power_law_is_told_from_an_exponential(exponent, times, seed):
    """Exact power laws are called so in every resample, with their exponent; exact exponentials likewise."""
    factors = np.random.default_rng(seed).uniform(0.5, 2, size=12)
    lags = np.maximum(np.arange(times)[::-1, None], 0.5)
    power = fit_decay(lags**exponent * factors, floor=FLOOR, resamples=50)
    steady = fit_decay(exponential(exponent / 20, times, 1) * factors, floor=FLOOR, resamples=50)
    assert (power.law, power.law_support, steady.law, steady.law_support) == ("power", 1.0, "exponential", 1.0)
    np.testing.assert_allclose(power.exponent, exponent, atol=1e-9)
    assert power.residual_power < 1e-9 < power.residual_exponential


def test_scattered_data_of_each_law_are_told_apart():
    """With 30 % scatter and 16 sequences each law is recognised in all of 40 batches."""
    rng = np.random.default_rng(0)
    lags = np.maximum(np.arange(100)[::-1, None], 1.0)
    scatter = [np.exp(0.3 * rng.normal(size=(100, 16))) for _ in range(40)]
    powers = {fit_decay(lags**-1.5 * noise, floor=FLOOR, resamples=50).law for noise in scatter}
    steady = {fit_decay(exponential(-0.1, 100, 1) * noise, floor=FLOOR, resamples=50).law for noise in scatter}
    assert (powers, steady) == ({"power"}, {"exponential"})


def test_a_constant_neither_grows_nor_shrinks():
    """Rate 0 to rounding, an endless half-life, no horizon, and no power law made of rounding."""
    decay = fit_decay(np.full((50, 4), 0.7), floor=FLOOR)
    assert abs(decay.rate) < 1e-12
    assert decay.half_life > 1e12
    assert (decay.law, decay.horizon_lag) == ("exponential", None)


@settings(deadline=None)
@given(rate=st.floats(-9.0, -1.2), seed=st.integers(0, 100))
def test_underflow_is_counted_and_kept_out_of_the_fit(rate, seed):
    """Norms that were rounded to float32 down to exactly 0 still give the rate of those above the floor."""
    factors = np.random.default_rng(seed).uniform(0.5, 2, size=8)
    norms = (exponential(rate, 100, 1) * factors).astype(np.float32).astype(np.float64)
    decay = fit_decay(norms, floor=FLOOR, resamples=50)
    np.testing.assert_allclose(decay.rate, rate, atol=1e-5)
    by_lag = norms[::-1]
    assert decay.zeros == (norms == 0).sum() > 0
    assert decay.first_zero_lag == np.flatnonzero((by_lag == 0).any(axis=1))[0]
    assert decay.all_zero_lag == np.flatnonzero((by_lag == 0).all(axis=1))[0]
    np.testing.assert_array_equal(decay.zero_share, (by_lag == 0).mean(axis=1))
    np.testing.assert_array_equal(decay.worn_share, decay.zero_share)
    assert by_lag[decay.lags_used[1]].mean() > FLOOR


def test_a_gradient_that_dies_at_once_has_the_rate_minus_infinity():
    """One nonzero norm and then exact zeros: nothing to fit, but no doubt either."""
    norms = np.zeros((20, 4))
    norms[-1] = 1.0
    decay = fit_decay(norms, floor=FLOOR)
    assert (decay.rate, decay.rate_low, decay.rate_high, decay.half_life) == (-np.inf, -np.inf, -np.inf, 0.0)
    assert (decay.lags_used, decay.zeros, decay.first_zero_lag, decay.horizon_lag) == (None, 76, 1, 1)


def test_one_drop_through_the_floor_is_still_a_slope():
    """Two lags, the second below the floor but not 0, give the slope between them."""
    norms = np.zeros((20, 4))
    norms[-1], norms[-2] = 1.0, 1e-40
    assert fit_decay(norms, floor=FLOOR).rate == pytest.approx(np.log(1e-40))


@pytest.mark.parametrize(
    "norms", [np.zeros((9, 3)), np.ones((1, 3)), np.full((9, 3), np.nan), np.zeros((0, 0)), np.zeros((5, 0))]
)
def test_nothing_to_fit_is_no_number(norms):
    """All zeros, one time, nothing finite, no sequences: the rate is NaN with an open interval."""
    decay = fit_decay(norms, floor=FLOOR)
    np.testing.assert_equal(
        (decay.rate, decay.rate_low, decay.rate_high, decay.half_life, decay.lags_used),
        (np.nan, -np.inf, np.inf, np.nan, None),
    )


def test_two_times_are_one_slope():
    """T = 2 is the shortest sequence that has a rate."""
    decay = fit_decay(np.array([[0.5, 0.25], [1.0, 0.5]]), floor=FLOOR)
    assert (decay.rate, decay.lags_used) == (pytest.approx(np.log(0.5)), (0, 1))


@pytest.mark.parametrize("bad", [np.inf, np.nan, -np.inf])
def test_a_gradient_that_stops_being_finite_is_counted_and_the_rest_is_fitted(bad):
    """One sequence whose norms are not finite beyond lag 30 ends the fit at lag 29 and hides nothing before it."""
    norms = exponential(0.3, times=60, sequences=4)
    norms[:30, 2] = bad
    decay = fit_decay(norms, floor=FLOOR, resamples=50)
    assert (decay.nonfinite, decay.first_nonfinite_lag, decay.lags_used) == (30, 30, (3, 29))
    np.testing.assert_allclose(decay.rate, 0.3, atol=1e-9)


def test_a_sequence_that_is_never_finite_does_not_hide_the_others():
    """It is counted; the fit is over the other three."""
    norms = exponential(-0.3, times=40, sequences=4)
    norms[:, 1] = np.nan
    decay = fit_decay(norms, floor=FLOOR, resamples=50)
    assert (decay.nonfinite, decay.sequences, decay.lags_used[1]) == (40, 3, 39)
    np.testing.assert_allclose(decay.rate, -0.3, atol=1e-9)


@settings(deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=8), rate=st.floats(-0.5, 0.5))
def test_packed_sequences_are_counted_back_from_their_own_ends(lengths, rate):
    """Sequences that end early do not blur the rate, and their missing times are neither zeros nor not finite."""
    norms = np.full((max(lengths), len(lengths)), np.nan)
    for column, length in enumerate(lengths):
        norms[:length, column] = exponential(rate, length, 1)[:, 0]
    decay = fit_decay(norms, floor=FLOOR, resamples=20)
    kept = [length for length in lengths if 2 * length >= max(lengths)]
    assert (decay.nonfinite, decay.zeros, decay.sequences, decay.lags) == (0, 0, len(kept), min(kept))
    if decay.lags > 1:
        np.testing.assert_allclose(decay.rate, rate, atol=1e-9)


@pytest.mark.parametrize("size", [1e-300, 1.7e308])
def test_norms_at_the_ends_of_float64_do_not_overflow(size):
    """The mean of huge norms is finite, the share of tiny ones is exact."""
    decay = fit_decay(exponential(-0.1, 30, 6) * size, floor=underflow_floor("float64"))
    assert decay.rate == pytest.approx(-0.1)
    np.testing.assert_allclose(decay.share, np.exp(-0.1 * np.arange(30)))


def test_the_burn_in_is_left_out():
    """A drop in the first lags, from the readout to the recurrence, is not part of the rate."""
    norms = exponential(-0.05, times=60, sequences=4)
    norms[-1] *= 100
    assert fit_decay(norms, floor=FLOOR).rate == pytest.approx(-0.05)
    assert fit_decay(norms, floor=FLOOR, burn_in=1).lags_used == (1, 59)
    assert fit_decay(norms, floor=FLOOR, burn_in=0).rate < -0.055
    assert fit_decay(norms, floor=FLOOR, burn_in=500).lags_used == (58, 59)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64", "torch.float32"])
def test_the_floor_is_far_above_the_smallest_normal_number(dtype):
    """1024 times the smallest normal number, which numpy knows for its own types."""
    known = {"float16": np.float16, "float64": np.float64}
    smallest = np.finfo(known.get(dtype, np.float32)).tiny
    assert underflow_floor(dtype) == 1024 * float(smallest)

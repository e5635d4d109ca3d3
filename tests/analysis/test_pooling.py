"""Sequences of several iterations of a run together: the right iterations, the right way round."""

import numpy as np
import pandas as pd
import pytest

from gradscope.analysis import loss_times, phase_iterations, pooled_norms, run_decay
from gradscope.runs import RunWriter, open_run
from tests.planted import EVERY_TIME, LAYER, exponential, flush, plant


def test_start_and_end_are_quarters_of_the_recorded_iterations(tmp_path):
    """Iterations that were logged but not recorded do not count."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(40):
        writer.write(flush(iteration, exponential(-0.1, 10) if iteration % 5 == 0 else None))
    run = open_run(tmp_path)
    assert phase_iterations(run, LAYER, "start") == [0, 5]
    assert phase_iterations(run, LAYER, "end") == [30, 35]
    assert phase_iterations(run, "other", "end") == []


def test_the_phases_of_a_run_have_their_own_rates(tmp_path):
    """A network whose decay gets slower while it trains shows both rates."""
    run = plant(tmp_path, lambda iteration: exponential(-0.4 if iteration < 4 else -0.1, seed=iteration))
    rates = [run_decay(run, LAYER, phase=phase).rate for phase in ("start", "end")]
    np.testing.assert_allclose([*rates, run_decay(run, LAYER, [1, 2]).rate], [-0.4, -0.1, -0.4])
    assert run_decay(run, LAYER).sequences == 32


def test_a_long_phase_is_sampled_evenly(tmp_path):
    """Sixteen iterations from the first to the last of those asked for."""
    run = plant(tmp_path, lambda iteration: np.full((3, 1), float(iteration)), iterations=range(100))
    pooled = pooled_norms(run, LAYER, range(100))
    assert pooled.shape == (3, 16)
    assert (pooled[0, 0], pooled[0, -1]) == (0.0, 99.0)


def test_sequences_of_different_lengths_are_pooled_by_lag(tmp_path):
    """A shorter batch counts its lags from its own last time."""
    run = plant(tmp_path, lambda iteration: exponential(-0.2, times=50 - 5 * iteration), iterations=range(3))
    decay = run_decay(run, LAYER, range(3))
    assert (decay.lags, decay.sequences, decay.nonfinite) == (40, 48, 0)
    assert decay.rate == pytest.approx(-0.2)


def test_a_reverse_layer_is_followed_the_way_it_reads(tmp_path):
    """It ends at time 0, so there its lags begin; packed sequences among them."""
    norms = exponential(-0.3, times=30, sequences=3)[::-1].copy()
    norms[20:, 1] = np.nan
    run = plant(tmp_path, lambda _: norms, layer="rnn.l0_reverse")
    decay = run_decay(run, "rnn.l0_reverse")
    assert (decay.rate, decay.nonfinite, decay.lags) == (pytest.approx(-0.3), 0, 20)


def test_a_loss_may_enter_where_that_is_not_known():
    """As at every time of a tap, which has no direct gradients; where there is no gradient at all, none enters."""
    table = pd.DataFrame({"iteration": 0, "layer": "tap", "call": 0, "direct_gradient_norm": [np.nan, np.nan, np.nan]})
    assert loss_times(table.assign(total_gradient_norm=[0.1, 0.2, 0.3])) == 3
    assert loss_times(table.assign(total_gradient_norm=[np.nan, np.nan, 0.3])) == 1
    assert loss_times(table.assign(total_gradient_norm=1.0, direct_gradient_norm=[0.0, 0.0, 1.0])) == 1


def test_the_floor_is_that_of_the_training_type(tmp_path):
    """The same tiny norms are fitted in float64 and not in float32."""
    tiny = 1e-37 * exponential(-0.1)
    narrow = plant(tmp_path / "narrow", lambda _: tiny, metadata={"dtype": "float32"})
    wide = plant(tmp_path / "wide", lambda _: tiny, metadata={"dtype": "float64"})
    assert run_decay(wide, LAYER).rate == pytest.approx(-0.1)
    assert run_decay(narrow, LAYER).lags_used is None or run_decay(narrow, LAYER).lags_used[1] <= 1


def test_nothing_recorded_is_a_decay_of_nothing(tmp_path):
    """A run of a layer that was never recorded has no rate."""
    RunWriter(tmp_path, {}).write(flush(0))
    decay = run_decay(open_run(tmp_path), LAYER)
    np.testing.assert_equal((decay.rate, decay.sequences, decay.lags), (np.nan, 0, 0))


def test_the_times_of_the_loss_are_counted(tmp_path):
    """One for a loss at the last time, all for a loss at each, none where nothing was recorded."""
    last = plant(tmp_path / "last", lambda _: exponential(-0.1, times=20))
    every = plant(tmp_path / "every", lambda _: exponential(-0.1, times=20), loss=EVERY_TIME)
    counts = [loss_times(last.timesteps), loss_times(every.timesteps), loss_times(last.timesteps.iloc[:0])]
    assert counts == [1, 20, 0]

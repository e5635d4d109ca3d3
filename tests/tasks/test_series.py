"""Series that are forecast: the sine, Lorenz's flow, sunspots."""

import sys

import numpy as np
import pytest

from gradscope.errors import UsageError
from gradscope.tasks.forecast import Forecast
from gradscope.tasks.lorenz import Lorenz, trajectory
from gradscope.tasks.series import Series
from gradscope.tasks.sine import Sine


def test_sine_targets_are_the_next_points():
    """Each target is the input of the next time, and all are points of one sine from a whole number on."""
    inputs, targets = Sine(points=50, width=10.0).batch(np.random.default_rng(0), 8)

    assert inputs.shape == targets.shape == (49, 8, 1)
    np.testing.assert_array_equal(inputs[1:], targets[:-1])
    starts = np.round(np.arcsin(np.clip(inputs[0, :, 0], -1, 1)), 5)
    known = np.round(np.arcsin(np.sin(np.arange(10))), 5)
    assert set(starts) <= set(known.astype(np.float32))
    x = np.linspace(0, 10, 50)
    assert any(np.allclose(inputs[:, 0, 0], np.sin(x[:-1] + start), atol=1e-6) for start in range(10))


def test_sine_runs_freely_on_its_own_answers():
    """A network that always answers half of what it reads halves the first point again and again."""

    def halved(inputs, state):
        return inputs / 2, None

    task = Sine(points=20, width=5.0, random_start=False)
    # Of the true points: half of each; running freely from sin(0) = 0: zeros.
    free, led = task.exhibits(halved, None)

    np.testing.assert_allclose(free.truth, np.sin(np.linspace(0, 5, 20)))
    assert np.isnan(free.answer[0])
    assert free.answer[1:].tolist() == [0.0] * 19
    np.testing.assert_allclose(led.answer[1:], free.truth[:-1] / 2, atol=1e-6)


def test_free_run_hands_the_state_on():
    """A network that counts its calls in its state reads that state back."""

    def counting(inputs, state):
        count = 1 if state is None else state + 1
        return np.full_like(inputs, count), count

    free, _ = Sine(points=12).exhibits(counting, None)

    assert free.answer[1:].tolist() == list(range(1, 12))
    # Carried on from 20, it has read the window before: that is call 21.
    carried, led = Sine(points=12, carry=True).exhibits(counting, 20)
    assert carried.answer[1:].tolist() == list(range(22, 33))
    assert led.answer[1:].tolist() == [22] * 11


def test_the_window_before_leads_smoothly_into_the_first_point():
    """A network that keeps the last point that it read as its state has seen the point right before 0."""

    def remembering(inputs, state):
        return inputs, float(inputs[-1, 0, 0])

    seen = []
    task = Sine(points=50, width=10.0, carry=True)
    task.exhibits(lambda inputs, state: (seen.append(state), remembering(inputs, state))[1], None)

    assert seen[1] == pytest.approx(np.sin(-10 / 49), abs=1e-6)


def test_forecast_windows_and_targets_are_pieces_of_the_series():
    """500 points over 0..50, 20 read, the 21st asked for; a batch as large as the series is all of it, in order."""
    task = Forecast(lookback=20, points=500, width=50.0)
    inputs, targets = task.batch(np.random.default_rng(0), 480)
    series = np.sin(np.linspace(0, 50, 500))

    assert inputs.shape == (20, 480, 1)
    np.testing.assert_allclose(inputs[:, 7, 0], series[7:27], atol=1e-6)
    np.testing.assert_allclose(targets[:, 0], series[20:], atol=1e-6)
    assert task.baseline == pytest.approx(series[20:].var(), rel=1e-4)


def test_answer_may_lie_further_ahead():
    """Ten points ahead of a window of 30 is the fortieth point."""
    (shown,) = Lorenz(lookback=30, points=400, ahead=10, held_out=0.0).exhibits(lambda inputs, _: (inputs, None), None)
    task = Lorenz(lookback=30, points=400, ahead=10)
    inputs, targets = task.batch(np.random.default_rng(0), 400)

    np.testing.assert_allclose(inputs[:, 5, 0], shown.truth[5:35])
    np.testing.assert_allclose(targets[:, 0], shown.truth[39:320])
    assert int(np.isnan(shown.answer).sum()) == 39
    np.testing.assert_allclose(shown.answer[39:], shown.truth[29:-10])


def test_held_out_points_are_never_trained_on():
    """No window's target lies in the last fifth."""
    task = Forecast(lookback=5, points=100, width=1.0, held_out=0.2)
    _, targets = task.batch(np.random.default_rng(0), 10_000)

    assert targets.max() == pytest.approx(np.sin(np.linspace(0, 1, 100))[79], abs=1e-6)


def test_points_that_are_said_to_be_held_out_are_the_only_ones_shown():
    """Of Lorenz's flow the last fifth, each point from the true ones before it; all of it where none is held out."""
    (whole,) = Lorenz(lookback=30, points=400, held_out=0.0).exhibits(lambda inputs, _: (inputs, None), None)
    (shown,) = Lorenz(lookback=30, points=400).exhibits(lambda inputs, _: (inputs, None), None)

    assert shown.name == "forecast of points never trained on"
    assert whole.name != shown.name
    np.testing.assert_array_equal(shown.truth, whole.truth[320:])
    np.testing.assert_array_equal(shown.answer, whole.answer[320:])
    np.testing.assert_array_equal(shown.x, whole.x[320:])


def test_lorenz_stays_on_its_attractor():
    """The mean of z is the known 23.55, x never leaves +-20; an error doubles in 0.77 units, 15 points of 0.05."""
    flow = trajectory(4000, 0.05)

    assert flow[:, 2].mean() == pytest.approx(23.55, abs=0.5)
    assert np.abs(flow[:, 0]).max() < 20
    assert Lorenz(points=500).doubling_time == pytest.approx(0.765 / 0.05, rel=0.01)


def test_lorenz_obeys_its_equations():
    """The derivative along the trajectory, by differences, is that of the equations."""
    flow = trajectory(2001, 0.001)
    slope = (flow[2:] - flow[:-2]) / 0.002
    x, y, z = flow[1:-1].T
    expected = np.stack([10 * (y - x), x * (28 - z) - y, x * y - 8 / 3 * z], axis=1)

    np.testing.assert_allclose(slope, expected, atol=0.03)  # of derivatives around 100, by central differences


def test_sunspots_come_from_statsmodels():
    """309 years from 1700 on, with a cycle of about 11 years."""
    pytest.importorskip("statsmodels")
    task = Series()
    (shown,) = task.exhibits(lambda inputs, _: (inputs, None), None)

    assert (len(shown.x), shown.x[0], shown.x[-1]) == (309, 1700, 2008)
    spectrum = np.abs(np.fft.rfft(shown.truth - shown.truth.mean()))
    assert 309 / spectrum.argmax() == pytest.approx(11, abs=0.5)
    assert task.data_digest


def test_missing_statsmodels_is_one_message(monkeypatch):
    """The extra that brings it is named."""
    monkeypatch.setitem(sys.modules, "statsmodels.datasets.sunspots", None)

    with pytest.raises(UsageError, match=r"needs statsmodels.*gradscope-rnn\[data\]"):
        Series()


@pytest.mark.parametrize("lookback", [1, 98])
def test_window_that_does_not_fit_is_refused(lookback):
    """With the sizes that do."""
    with pytest.raises(UsageError, match="1 ahead: windows of 2 to 98 fit"):
        Forecast(lookback=lookback if lookback == 1 else 99, points=100)


def test_too_few_points_are_refused():
    """A sine of three points is none."""
    with pytest.raises(UsageError, match="at least 12 points, got 3"):
        Sine(points=3)

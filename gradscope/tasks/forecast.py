"""A sine wave, forecast from windows."""

import math

import numpy as np

from gradscope.tasks.windows import WindowedSeries


class Forecast(WindowedSeries):
    """Predict the next of `points` points of sin(x), x from 0 to `width`, from the last `lookback` ones.

    Args:
        lookback: points in a window.
        points: of the series.
        width: of the series.
        held_out: share at the end that is never trained on.
    """

    baseline_meaning = "always answering the mean of the wave"
    # Noise-free, so that nothing but patience ends the loss.
    solved = math.nan

    def __init__(self, lookback: int = 20, points: int = 500, width: float = 50.0, held_out: float = 0.0) -> None:
        x = np.linspace(0, width, points)
        super().__init__(np.sin(x), x, lookback, held_out)
        # A sine follows from its last two points: nothing older is needed.
        self.lag = min(2, lookback - 1)

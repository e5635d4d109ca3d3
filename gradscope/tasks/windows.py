"""Forecasting a series that is there: windows of it, and the point that follows each."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from gradscope.errors import UsageError
from gradscope.tasks.task import Answer, Batch, Exhibit, Task


class WindowedSeries(Task):
    """Predict the next point of a series from the last ones: one answer a window, at its end.

    Args:
        series: in order.
        x: position of each point.
        lookback: points in a window.
        held_out: share at the end of the series that is never trained on.
    """

    kind: Literal["regression", "classification"] = "regression"
    input_size = output_size = 1
    baseline_meaning = "always answering the mean of the series"
    exhibit_name = "forecast of each next point"

    def __init__(
        self,
        series: Float[np.ndarray, " point"],
        x: Float[np.ndarray, " point"],
        lookback: int,
        held_out: float,
    ) -> None:
        trained = round(len(series) * (1 - held_out))
        if not 2 <= lookback < trained - 1:
            raise UsageError(
                f"the series has {trained} points to train on: windows of 2 to {trained - 2} fit, "
                f"got lookback {lookback}"
            )
        self.length = lookback
        self.lag = lookback - 1
        self._series, self._x, self._trained = series.astype(np.float32), x, trained
        self.baseline = float(np.var(self._series[lookback:trained]))

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw windows; all of them, in order, where the batch is as large.

        Args:
            rng: the only source of chance.
            size: how many windows.

        Returns:
            Inputs (time, batch, 1) and the points that follow (batch, 1).
        """
        windows = self._trained - self.length
        start = np.arange(windows) if size >= windows else rng.integers(0, windows, size)
        return Batch(self._windows(start), self._series[start + self.length][:, None])

    def exhibits(self, answer: Answer) -> Sequence[Exhibit]:
        """Forecast every point from the true ones before it, those that were held out too.

        Args:
            answer: the network.

        Returns:
            One picture.
        """
        said, _ = answer(self._windows(np.arange(len(self._series) - self.length)), None)
        forecast = np.concatenate([np.full(self.length, np.nan), said[-1, :, 0]])
        return (Exhibit(self.exhibit_name, self._x, self._series.astype(float), forecast),)

    def _windows(self, start: Sequence[int] | np.ndarray) -> Float[np.ndarray, "time batch 1"]:
        return self._series[np.asarray(start)[None, :] + np.arange(self.length)[:, None]][:, :, None]

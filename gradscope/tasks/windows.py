"""Forecasting a series that is there: windows of it, and the point that follows each."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from gradscope.errors import UsageError
from gradscope.tasks.task import Answer, Batch, Exhibit, Task


class WindowedSeries(Task):
    """Predict a coming point of a series from the last ones: one answer a window, at its end.

    Args:
        series: in order.
        x: position of each point.
        lookback: points in a window.
        held_out: share at the end of the series that is never trained on.
        ahead: how many points after the window the answer lies; 1 is the next one.
    """

    kind: Literal["regression", "classification"] = "regression"
    input_size = output_size = 1
    baseline_meaning = "always answering the mean of the series"
    exhibit_name = "forecast of each next point"
    shows_held_out = False
    """Whether only points that were held out are shown."""

    def __init__(
        self,
        series: Float[np.ndarray, " point"],
        x: Float[np.ndarray, " point"],
        lookback: int,
        held_out: float,
        ahead: int = 1,
    ) -> None:
        trained = round(len(series) * (1 - held_out))
        longest = trained - ahead - 1
        if ahead < 1 or not 2 <= lookback <= longest:
            raise UsageError(
                f"the series has {trained} points to train on, {ahead} ahead: windows of 2 to {longest} fit, "
                f"got lookback {lookback}"
            )
        self.length = lookback
        self.lag = lookback - 1
        self._series, self._x, self._trained = series.astype(np.float32), x, trained
        # From the beginning of a window to its answer.
        self._reach = lookback + ahead - 1
        self.baseline = float(np.var(self._series[self._reach : trained]))

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw windows; all of them, in order, where the batch is as large.

        Args:
            rng: the only source of chance.
            size: how many windows.

        Returns:
            Inputs (time, batch, 1) and the points that follow (batch, 1).
        """
        windows = self._trained - self._reach
        start = np.arange(windows) if size >= windows else rng.integers(0, windows, size)
        return Batch(self._windows(start), self._series[start + self._reach][:, None])

    def exhibits(self, answer: Answer, state: Any) -> Sequence[Exhibit]:  # noqa: ANN401, ARG002 - each window by itself
        """Forecast each point from the true ones before it: all of them, or only those that were held out.

        Args:
            answer: the network.
            state: not used: each window begins from zeros.

        Returns:
            One picture.
        """
        first = max(self._reach, self._trained if self.shows_held_out else 0)
        said, _ = answer(self._windows(np.arange(first - self._reach, len(self._series) - self._reach)), None)
        # What lies before the first forecast is drawn too where it is the beginning of the series.
        begin = first if self.shows_held_out else 0
        forecast = np.concatenate([np.full(first - begin, np.nan), said[-1, :, 0]])
        return (Exhibit(self.exhibit_name, self._x[begin:], self._series[begin:].astype(float), forecast),)

    def _windows(self, start: Sequence[int] | np.ndarray) -> Float[np.ndarray, "time batch 1"]:
        return self._series[np.asarray(start)[None, :] + np.arange(self.length)[:, None]][:, :, None]

"""A sine wave, its next point predicted at every time; and what a network makes of it when it runs freely."""

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from gradscope.errors import UsageError
from gradscope.tasks.task import Answer, Batch, Exhibit, Task


class Sine(Task):
    """Predict the next of some points of sin(x) from all before.

    Each iteration reads a window of `width` in x, `points` points from one end to the other. It begins at a random
    whole number from 0 to 9, or always at 0. Every time is answered, so the gradient at a time is a sum over many lags.

    Args:
        points: of a window; one less is read.
        width: of a window.
        random_start: whether a window begins at random.
        carry: whether the state goes on from one window to the next, detached, although the windows do not join.
    """

    kind: Literal["regression", "classification"] = "regression"
    input_size = output_size = 1
    baseline = 0.5
    baseline_meaning = "always answering 0, the mean of a sine"
    # A small error at each next point is no sine yet: that shows in the free run alone.
    solved = math.nan

    def __init__(self, points: int = 50, width: float = 10.0, random_start: bool = True, carry: bool = False) -> None:
        if points < 12:
            raise UsageError(f"the sine needs windows of at least 12 points, got {points}: try 50")
        self.length = points - 1
        self.answered = self.length
        # A sine follows from its last two points: nothing older is needed.
        self.lag = 2
        self.carries_state = carry
        self._width = width
        self._random_start = random_start

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw windows.

        Args:
            rng: the only source of chance.
            size: how many windows.

        Returns:
            Inputs and targets (time, batch, 1), the targets one point later.
        """
        start = rng.integers(0, 10, size) if self._random_start else np.zeros(size)
        series = np.sin(self._positions()[:, None] + start).astype(np.float32)[:, :, None]
        return Batch(series[:-1], series[1:])

    def exhibits(self, answer: Answer, state: Any) -> Sequence[Exhibit]:  # noqa: ANN401 - whatever the network carries
        """Let the network run freely: from the first point on it reads its own answers.

        Args:
            answer: the network.
            state: as training left it. Where the state is carried, the window before 0 is read first, since a network
                that has never begun from zeros cannot know from a single point where on the wave it is.

        Returns:
            The free run over a window from 0, and the answers to the true points of the same window.
        """
        x = self._positions()
        truth = np.sin(x)
        inputs = truth[:-1, None, None].astype(np.float32)
        if self.carries_state:
            _, state = answer(np.sin(x[:-1] - self._width)[:, None, None].astype(np.float32), state)
        led, _ = answer(inputs, state)
        said = []
        now = inputs[:1]
        for _ in range(self.length):
            now, state = answer(now, state)
            said.append(float(now[-1, 0, 0]))
        free = np.array([np.nan, *said])
        return (
            Exhibit("free run from the first point", x, truth, free),
            Exhibit("each next point, from the true ones", x, truth, np.array([np.nan, *led[:, 0, 0]])),
        )

    def _positions(self) -> Float[np.ndarray, " point"]:
        return np.linspace(0, self._width, self.length + 1)

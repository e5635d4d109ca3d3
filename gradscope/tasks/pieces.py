"""A long sine, cut into pieces: at random, or one after the other so that the state can be carried on."""

import math
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.shown import Exhibit, Shown
from gradscope.tasks.task import Answer, Batch, Task


class SinePieces(Task):
    """Predict each next point of sin(x), from pieces of a series of `points` points, `spacing` apart.

    `random`: each piece begins anywhere, with a state of zeros. `sequential`: the series is cut into as many strands as
    there are sequences in a batch; a batch holds the next piece of each strand, and the state is carried on, detached.
    Each pass begins at another place, with a state of zeros.

    Args:
        cut: how the series is cut.
        length: points in a piece.
        points: of the series.
        spacing: between them.
    """

    kind: Literal["regression", "classification"] = "regression"
    input_size = output_size = 1
    baseline = 0.5
    baseline_meaning = "always answering 0, the mean of a sine"
    # A small error at each next point is no sine yet: that shows in the free run alone.
    solved = math.nan

    def __init__(
        self,
        cut: Literal["random", "sequential"] = "random",
        length: int = 25,
        points: int = 2000,
        spacing: float = 0.2,
    ) -> None:
        if length < 4 or points < 4 * length:
            raise UsageError(
                f"the sine needs pieces of at least 4 points and a series of 4 pieces or more, "
                f"got length {length} and {points} points: try 25 and 2000"
            )
        self.length = self.answered = length
        # A sine follows from its last two points: nothing older is needed.
        self.lag = 2
        self.carries_state = cut == "sequential"
        self._x = spacing * np.arange(points)
        self._series = np.sin(self._x).astype(np.float32)

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw pieces that begin anywhere.

        Args:
            rng: the only source of chance.
            size: how many pieces.

        Returns:
            Inputs and targets (time, batch, 1), the targets one point later.
        """
        return self._pieces(rng.integers(0, len(self._series) - self.length, size))

    def batches(self, rng: np.random.Generator, size: int) -> Iterator[tuple[Batch, bool]]:
        """Draw batches without end, cut as the task says.

        Args:
            rng: the only source of chance.
            size: how many pieces in each.

        Yields:
            A batch, and whether the state begins anew with it.

        Raises:
            UsageError: there are not so many strands of at least one piece.
        """
        if not self.carries_state:
            yield from super().batches(rng, size)
        strand = (len(self._series) - self.length) // size
        if strand < self.length:
            raise UsageError(
                f"{len(self._series)} points make no {size} strands of pieces of {self.length}: take smaller batches"
            )
        while True:
            offset = int(rng.integers(0, self.length))
            for place in range(offset, strand - self.length + 1, self.length):
                yield self._pieces(place + strand * np.arange(size)), place == offset

    def exhibits(self, answer: Answer, state: Any) -> Sequence[Shown]:  # noqa: ANN401, ARG002 - it reads its own beginning
        """Let the network run freely: it reads one piece from a state of zeros, then its own answers.

        Args:
            answer: the network.
            state: not used.

        Returns:
            Four pieces, the first of them read.
        """
        count = 4 * self.length
        said, now = answer(self._series[: self.length, None, None], None)
        run = [float(said[-1, 0, 0])]
        while len(run) < count - self.length:
            said, now = answer(np.full((1, 1, 1), run[-1], dtype=np.float32), now)
            run.append(float(said[-1, 0, 0]))
        shown = np.concatenate([np.full(self.length, np.nan), run])
        return (Exhibit("free run after one piece", self._x[:count], np.sin(self._x[:count]), shown),)

    def _pieces(self, start: np.ndarray) -> Batch:
        windows = self._series[start[None, :] + np.arange(self.length + 1)[:, None]][:, :, None]
        return Batch(windows[:-1], windows[1:])

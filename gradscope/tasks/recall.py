"""The latch problem: hold one bit from the beginning to the end."""

import math
from typing import Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.task import Answer, Batch, Task

_SCORED = 400
_SCORED_EVERY = 100


class Recall(Task):
    """Say at the end which of two symbols stood at the beginning; in between there is nothing but noise.

    The first input is +1 or -1, all others are normal with a deviation of 0.2. After Bengio, Simard & Frasconi 1994,
    with the lag as the only thing that is varied, to find how far back a network can be taught to look.

    Args:
        lag: times between the symbol and the answer.
        inputs: numbers at each time; all but the first of them are noise always.
        truncate: how many times back the gradient is let; 0 for all.
        scored: whether to count right answers on 400 fixed sequences after each 100 iterations.
    """

    kind: Literal["regression", "classification"] = "classification"
    output_size = 2
    baseline = math.log(2)
    baseline_meaning = "tossing a coin"
    score_name = "test accuracy"

    def __init__(self, lag: int = 20, inputs: int = 1, truncate: int = 0, scored: bool = False) -> None:
        if lag < 1 or inputs < 1 or truncate < 0:
            raise UsageError(
                "recall needs a lag and inputs of at least 1 and truncate of at least 0, "
                f"got lag {lag}, inputs {inputs}, truncate {truncate}: try a lag of 20"
            )
        self.lag = lag
        self.length = lag + 1
        self.input_size = inputs
        self.truncate = truncate
        self._scored = scored

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw sequences.

        Args:
            rng: the only source of chance.
            size: how many sequences.

        Returns:
            Inputs (time, batch, input) and the numbers of the symbols (batch,).
        """
        symbols = rng.integers(0, 2, size)
        inputs = 0.2 * rng.standard_normal((self.length, size, self.input_size), dtype=np.float32)
        inputs[0, :, 0] = 2 * symbols - 1
        return Batch(inputs, symbols)

    def score_every(self, size: int) -> int:  # noqa: ARG002 - as often whatever the batch
        """Return after how many iterations right answers are counted."""
        return _SCORED_EVERY if self._scored else 0

    def score(self, answer: Answer) -> float:
        """Return the share of right answers on sequences that are always the same, of a generator of their own.

        Args:
            answer: the network.
        """
        batch = self.batch(np.random.default_rng([self.lag, _SCORED]), _SCORED)
        said, _ = answer(batch.inputs, None)
        return float((said[-1].argmax(axis=1) == batch.targets).mean())

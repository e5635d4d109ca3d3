"""The latch problem: hold one bit from the beginning to the end."""

import math
from typing import Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.task import Batch, Task


class Recall(Task):
    """Say at the end which of two symbols stood at the beginning; in between there is nothing but noise.

    The first input is +1 or -1, all others are normal with a deviation of 0.2. After Bengio, Simard & Frasconi 1994,
    with the lag as the only thing that is varied, to find how far back a network can be taught to look.

    Args:
        lag: times between the symbol and the answer.
    """

    kind: Literal["regression", "classification"] = "classification"
    input_size = 1
    output_size = 2
    baseline = math.log(2)
    baseline_meaning = "tossing a coin"

    def __init__(self, lag: int = 20) -> None:
        if lag < 1:
            raise UsageError(f"recall needs a lag of at least 1, got {lag}: try 20")
        self.lag = lag
        self.length = lag + 1

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw sequences.

        Args:
            rng: the only source of chance.
            size: how many sequences.

        Returns:
            Inputs (time, batch, 1) and the numbers of the symbols (batch,).
        """
        symbols = rng.integers(0, 2, size)
        inputs = 0.2 * rng.standard_normal((self.length, size, 1), dtype=np.float32)
        inputs[0, :, 0] = 2 * symbols - 1
        return Batch(inputs, symbols)

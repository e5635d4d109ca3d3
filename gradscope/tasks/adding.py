"""The adding problem of Hochreiter & Schmidhuber (1997): remember two numbers among many, say their sum."""

from typing import Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.task import Batch, Task


class Adding(Task):
    """Sum the two marked numbers of a sequence.

    At each time the input is a number drawn uniformly from [0, 1] and a marker, which is 1 at two times and else 0: one
    in the first half of the sequence, one in the second. The target at the end is the sum of the two marked numbers.

    The earlier marker lies anywhere in the first half, so the answer has to look back between T/2 and T-1 times; `lag`
    is the middle of that, 3T/4: half of the sequences need at least as much.
    """

    kind: Literal["regression", "classification"] = "regression"
    input_size = 2
    output_size = 1
    # The variance of the sum of two independent uniform numbers: what is left when the mean is always answered.
    baseline = 1 / 6
    baseline_meaning = "always answering 1, the mean of the sum"

    def __init__(self, length: int = 100, lag: int | None = None) -> None:
        if length < 4:
            raise UsageError(f"the adding problem needs sequences of at least 4 times, got {length}: try 100")
        self.length = length
        self.lag = 3 * length // 4 if lag is None else lag

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw sequences.

        Args:
            rng: the only source of chance.
            size: how many sequences.

        Returns:
            Inputs (time, batch, 2) and targets (batch, 1).
        """
        half = self.length // 2
        numbers = rng.random((self.length, size), dtype=np.float32)
        first = rng.integers(0, half, size)
        second = rng.integers(half, self.length, size)
        column = np.arange(size)
        inputs = np.zeros((self.length, size, 2), dtype=np.float32)
        inputs[:, :, 0] = numbers
        inputs[first, column, 1] = 1
        inputs[second, column, 1] = 1
        targets = (numbers[first, column] + numbers[second, column])[:, None]
        return Batch(inputs, targets)

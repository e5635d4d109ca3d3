"""Holding a number: the plainest task that needs the gradient to come back from the end to the beginning."""

from typing import Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.task import Batch, Task


class Hold(Task):
    """Say at the end the number that stood at the beginning. All other inputs are 0.

    Args:
        lag: times between the number and the answer.
    """

    kind: Literal["regression", "classification"] = "regression"
    input_size = output_size = 1
    baseline = 1.0
    baseline_meaning = "always answering 0, the mean of the numbers"

    def __init__(self, lag: int = 20) -> None:
        if lag < 1:
            raise UsageError(f"holding a number needs a lag of at least 1, got {lag}: try 20")
        self.lag = lag
        self.length = lag + 1

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw sequences.

        Args:
            rng: the only source of chance.
            size: how many sequences.

        Returns:
            Inputs (time, batch, 1) and targets (batch, 1), standard normal.
        """
        numbers = rng.standard_normal((size, 1), dtype=np.float32)
        inputs = np.zeros((self.length, size, 1), dtype=np.float32)
        inputs[0] = numbers
        return Batch(inputs, numbers)

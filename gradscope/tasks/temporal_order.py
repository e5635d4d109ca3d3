"""The temporal order problem: which of two symbols came first, which second."""

import math
from typing import Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.task import Batch, Task

_DISTRACTORS = 4
_X = _DISTRACTORS


class TemporalOrder(Task):
    """Name the order of two symbols far apart, as in Pascanu, Mikolov & Bengio 2013.

    All inputs are one of four distractors, but for two, each A or B: one between 1/10 and 2/10 of the sequence, one
    between 4/10 and 5/10. The four classes are AA, AB, BA and BB. The first symbol lies 8/10 to 9/10 of the sequence
    before the end; `lag` is the middle of that.

    Args:
        length: times in a sequence.
    """

    kind: Literal["regression", "classification"] = "classification"
    input_size = _DISTRACTORS + 2
    output_size = 4
    baseline = math.log(4)
    baseline_meaning = "guessing among four orders"

    def __init__(self, length: int = 50) -> None:
        if length < 10:
            raise UsageError(f"the temporal order problem needs sequences of at least 10 times, got {length}: try 50")
        self.length = length
        self.lag = 17 * length // 20

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw sequences.

        Args:
            rng: the only source of chance.
            size: how many sequences.

        Returns:
            One-hot inputs (time, batch, 6) and the numbers of the classes (batch,).
        """
        tenth = self.length / 10
        codes = rng.integers(0, _DISTRACTORS, (self.length, size))
        symbols = rng.integers(0, 2, (2, size))
        column = np.arange(size)
        for symbol, (begin, end) in zip(symbols, ((1, 2), (4, 5)), strict=True):
            codes[rng.integers(int(begin * tenth), int(end * tenth), size), column] = _X + symbol
        return Batch(np.eye(self.input_size, dtype=np.float32)[codes], 2 * symbols[0] + symbols[1])

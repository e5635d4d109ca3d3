"""The copying problem: keep symbols over a long wait, then say them again."""

import math
from typing import Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.task import Batch, Task

SYMBOLS = 8
KEPT = 10
_BLANK, _RECALL = SYMBOLS, SYMBOLS + 1


class CopyMemory(Task):
    """Say ten symbols after a wait of T times, in the form of Arjovsky, Shah & Bengio 2016.

    Ten symbols, each one of eight, are read; then T - 1 blanks, one sign to recall, and ten blanks more, at which the
    symbols have to be said in order: T + 20 times in all. Each answer looks back T + 10 times.

    Arjovsky et al. also ask for blanks at all earlier times. That is left out, since it is learned at once and would
    only put gradients of no interest between the answer and what is to be remembered; the baseline is theirs for the
    average over all times, 10 ln 8 / (T + 20), times (T + 20) / 10: ln 8 an answer.

    Args:
        wait: T.
    """

    kind: Literal["regression", "classification"] = "classification"
    input_size = SYMBOLS + 2
    output_size = SYMBOLS
    answered = KEPT
    baseline = math.log(SYMBOLS)
    baseline_meaning = "guessing among eight symbols"

    def __init__(self, wait: int = 30) -> None:
        if wait < 1:
            raise UsageError(f"the copying problem needs a wait of at least 1 time, got {wait}: try 30")
        self.length = wait + 2 * KEPT
        self.lag = wait + KEPT

    @property
    def published_baseline(self) -> float:
        """Loss of guessing, averaged over all times as the papers do: 10 ln 8 / (T + 20)."""
        return KEPT * math.log(SYMBOLS) / self.length

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw sequences.

        Args:
            rng: the only source of chance.
            size: how many sequences.

        Returns:
            One-hot inputs (time, batch, 10) and the symbols (10, batch).
        """
        symbols = rng.integers(0, SYMBOLS, (KEPT, size))
        codes = np.full((self.length, size), _BLANK)
        codes[:KEPT] = symbols
        codes[-KEPT - 1] = _RECALL
        return Batch(np.eye(self.input_size, dtype=np.float32)[codes], symbols)

"""Next-character prediction on real text."""

import math
from collections import Counter
from typing import Literal

import numpy as np
from jaxtyping import Float, Int

from gradscope.errors import UsageError
from gradscope.tasks.task import Batch, Task
from gradscope.tasks.text import digest_text, read_text

# Rarer characters share one place: a user's Chinese text has thousands, and one-hot inputs grow with each.
PLACES = 96


class Characters(Task):
    """Read `length` characters, predict the next one.

    The loss is taken at the last time only, so that every sequence has one loss and lag has a meaning: a gradient at
    lag k says how much the character k places back counts for this prediction.

    English has no single lag at which its memory ends. `lag` is 20 by default, about four words: most of what a reader
    can use to guess the next letter lies within that (Shannon 1951, Prediction and entropy of printed English).
    """

    kind: Literal["regression", "classification"] = "classification"
    # Nobody predicts a text without error: there is no loss that means that it is solved.
    solved = math.nan
    baseline_meaning = "always answering with the letter frequencies of the text"

    def __init__(self, length: int = 50, lag: int | None = None, path: str = "") -> None:
        text = read_text(path)
        if not 2 <= length < len(text):
            raise UsageError(
                f"the text has {len(text)} characters: windows of 2 to {len(text) - 1} characters fit, got {length}"
            )
        self.length = length
        self.lag = min(20, length - 1) if lag is None else lag
        self.alphabet = alphabet_of(text)
        self._codes = encode(text, self.alphabet)
        self.input_size = self.output_size = len(self.alphabet) + 1
        self.baseline = entropy(self._codes)
        self.data_digest = digest_text(text)

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw windows from anywhere in the text.

        Args:
            rng: the only source of chance.
            size: how many windows.

        Returns:
            One-hot inputs (time, batch, character) and the numbers of the characters that follow (batch,).
        """
        start = rng.integers(0, len(self._codes) - self.length, size)
        window = self._codes[start[None, :] + np.arange(self.length)[:, None]]
        inputs = np.zeros((*window.shape, self.input_size), dtype=np.float32)
        np.put_along_axis(inputs, window[:, :, None], 1, axis=2)
        return Batch(inputs, self._codes[start + self.length])


def alphabet_of(text: str, places: int = PLACES) -> tuple[str, ...]:
    """Return the most frequent characters, in the order of their code points."""
    counts = Counter(text)
    frequent = sorted(counts, key=lambda character: (-counts[character], character))[:places]
    return tuple(sorted(frequent))


def encode(text: str, alphabet: tuple[str, ...]) -> Int[np.ndarray, " character"]:
    """Return each character's place in the alphabet; all others share the place after the last one."""
    place = {character: number for number, character in enumerate(alphabet)}
    return np.array([place.get(character, len(alphabet)) for character in text], dtype=np.int64)


def entropy(codes: Int[np.ndarray, " character"]) -> float:
    """Return the entropy of the characters' frequencies, in nats."""
    share: Float[np.ndarray, " place"] = np.bincount(codes) / len(codes)
    share = share[share > 0]
    return float(-(share * np.log(share)).sum())

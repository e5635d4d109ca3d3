"""Writing: characters drawn one after the other, each read again before the next is drawn."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from gradscope.tasks.task import Answer


def write(
    answer: Answer, prompt: Sequence[int], places: int, count: int, temperature: float, rng: np.random.Generator
) -> list[int]:
    """Read a prompt from a state of zeros, then write.

    Args:
        answer: the network; its answers are logits.
        prompt: places in the alphabet, at least one.
        places: in the alphabet.
        count: how many characters to write.
        temperature: logits are divided by it: below 1 likely characters become likelier, above 1 the draw is more even.
        rng: the only source of chance.

    Returns:
        Places in the alphabet, without the prompt.
    """
    state: Any = None
    given, written = list(prompt), []
    for _ in range(count):
        logits, state = answer(np.eye(places, dtype=np.float32)[given][:, None], state)
        given = [int(rng.choice(places, p=probabilities(logits[-1, 0], temperature)))]
        written += given
    return written


def probabilities(logits: Float[np.ndarray, " place"], temperature: float) -> Float[np.ndarray, " place"]:
    """Return softmax(logits / temperature), in float64."""
    scaled = logits.astype(float) / temperature
    weights = np.exp(scaled - scaled.max())
    shares: Float[np.ndarray, " place"] = weights / weights.sum()
    return shares

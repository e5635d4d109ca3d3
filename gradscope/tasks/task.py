"""What a study asks of a task."""

from typing import Literal, NamedTuple, Protocol

import numpy as np
from jaxtyping import Float, Shaped


class Batch(NamedTuple):
    """Some sequences and what the network should say at the end of each.

    Attributes:
        inputs: (time, batch, input), float32.
        targets: (batch, output) float32 for regression, (batch,) int64 class numbers for classification.
    """

    inputs: Float[np.ndarray, "time batch input"]
    targets: Shaped[np.ndarray, "batch ..."]


class Task(Protocol):
    """Data without end, drawn from a generator, with the loss at the last time only.

    With the loss at one time, the total gradient at time t is what lag T-1-t of the loss sends back, so that its decay
    against lag can be read off directly.
    """

    @property
    def name(self) -> str:
        """Its name in a study file."""

    @property
    def kind(self) -> Literal["regression", "classification"]:
        """Which loss suits it: the mean squared error or the cross entropy."""

    @property
    def length(self) -> int:
        """Times in a sequence."""

    @property
    def input_size(self) -> int:
        """Numbers at each time."""

    @property
    def output_size(self) -> int:
        """Numbers that the network answers with."""

    @property
    def lag(self) -> int:
        """How many times back from the end an answer needs to look."""

    @property
    def baseline(self) -> float:
        """Loss of the best answer that ignores the input."""

    @property
    def baseline_meaning(self) -> str:
        """That answer in words."""

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw `size` sequences."""

"""What a study asks of a task."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Shaped

from gradscope.tasks.shown import Exhibit, Shown

__all__ = ["Answer", "Batch", "Exhibit", "Shown", "Task"]


class Batch(NamedTuple):
    """Some sequences and what the network should say.

    Attributes:
        inputs: (time, batch, input), float32.
        targets: float32 (batch, output) for regression, int64 (batch,) class numbers for classification; with a leading
            axis of the answered times where a task wants more than one answer.
    """

    inputs: Float[np.ndarray, "time batch input"]
    targets: Shaped[np.ndarray, "*answer"]


Answer = Callable[[Float[np.ndarray, "time batch input"], Any], tuple[Float[np.ndarray, "time batch output"], Any]]
"""The network as a task sees it: inputs and a state (None to begin with) -> its answer at every time, the new state."""


class Task(ABC):
    """Data without end, drawn from a generator.

    With one answer, at the last time, the total gradient at time t is what lag T-1-t of the loss sends back, so that
    its decay against lag can be read off directly. With several answers in a row at the end, lag counts from the first
    of them.

    Attributes:
        kind: which loss suits it: the mean squared error or the cross entropy.
        length: times in a sequence.
        input_size: numbers at each time.
        output_size: numbers that the network answers with.
        lag: how many times back an answer needs to look.
        baseline: loss of the best answer that ignores the input.
        baseline_meaning: that answer in words.
        answered: how many times, the last ones, the network has to answer at.
        solved: share of the baseline below which the task counts as solved; NaN where no loss means that.
        carries_state: whether a sequence goes on where the last one ended, so that the state is handed on, detached.
        summed: whether the loss is the sum over the answered times and not their mean.
        truncate: how many times back the gradient is let; 0 for all.
        data_digest: digest of the user's or a package's data; empty where all is drawn.
        score_name: what `score` measures, for instance "test accuracy"; empty where there is none.
    """

    kind: Literal["regression", "classification"]
    length: int
    input_size: int
    output_size: int
    lag: int
    baseline: float
    baseline_meaning: str
    answered: int = 1
    solved: float = 0.1
    carries_state: bool = False
    summed: bool = False
    truncate: int = 0
    data_digest: str = ""
    score_name: str = ""

    @abstractmethod
    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw sequences.

        Args:
            rng: the only source of chance.
            size: how many sequences.

        Returns:
            Inputs and targets.
        """

    def batches(self, rng: np.random.Generator, size: int) -> Iterator[tuple[Batch, bool]]:
        """Draw batches without end; a task whose batches follow one another overrides this.

        Args:
            rng: the only source of chance.
            size: how many sequences in each.

        Yields:
            A batch, and whether a state that is carried begins anew with it.
        """
        while True:
            yield self.batch(rng, size), False

    def exhibits(self, answer: Answer, state: Any) -> Sequence[Shown]:  # noqa: ANN401, ARG002 - for those that show
        """Show what the network can do now.

        Args:
            answer: the network.
            state: that training has carried so far; None where a sequence begins from zeros.

        Returns:
            Pictures; none by default.
        """
        return ()

    def score_every(self, size: int) -> int:  # noqa: ARG002 - for those that are scored
        """Return after how many iterations with batches of this size the network is scored; 0 for never."""
        return 0

    def score(self, answer: Answer) -> float:
        """Return how good the network is on data that it does not train on.

        Args:
            answer: the network.

        Raises:
            NotImplementedError: the task has a `score_every` and no score.
        """
        raise NotImplementedError(f"{type(self).__name__} says that it is scored, and has no score")

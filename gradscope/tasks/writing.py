"""Reading a text to write one: each next character is predicted, and then the network writes by itself."""

import math
from collections.abc import Iterator, Sequence
from importlib import resources
from typing import Any, Literal

import numpy as np

from gradscope.errors import UsageError
from gradscope.tasks.characters import alphabet_of, encode, entropy
from gradscope.tasks.sampling import write
from gradscope.tasks.shown import Sample, Shown
from gradscope.tasks.task import Answer, Batch, Task
from gradscope.tasks.text import digest_text, read_text

# A Chinese text has more characters than a one-hot input should be wide; the rarest share one place.
_PLACES = 500
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class Writing(Task):
    """Predict each next character of a text, at every time.

    `random`: each piece begins anywhere, with a state of zeros. `sequential`: the text is read from beginning to end,
    in as many strands as there are sequences in a batch, and the state is carried on, detached.

    Args:
        text: `english` is Python's own documentation, `chinese` a short story that comes with this package.
        path: a UTF-8 file of the user's, in place of `text`.
        length: characters in a piece.
        order: how the text is cut.
        summed: whether the loss is the sum over the times, and not their mean.
        temperatures: at which the network writes.
        written: how many characters it writes at each.
    """

    kind: Literal["regression", "classification"] = "classification"
    # Nobody predicts a text without error: there is no loss that means that it is solved.
    solved = math.nan
    baseline_meaning = "always answering with the letter frequencies of the text"

    def __init__(
        self,
        text: Literal["english", "chinese"] = "english",
        path: str = "",
        length: int = 25,
        order: Literal["random", "sequential"] = "random",
        summed: bool = False,
        temperatures: list[float] | None = None,
        written: int = 160,
    ) -> None:
        self._temperatures = [0.5, 0.8, 1.2] if temperatures is None else temperatures
        if not self._temperatures or min(self._temperatures) <= 0:
            raise UsageError(f"temperatures lie above 0, got {self._temperatures}: try [0.5, 0.8, 1.2]")
        whole = read_text(path) if path or text == "english" else chinese_text()
        if not 2 <= length < len(whole) // 2:
            raise UsageError(
                f"the text has {len(whole)} characters: pieces of 2 to {len(whole) // 2 - 1} fit, got {length}"
            )
        self.length = self.answered = length
        # As far back as a piece tells anything: its characters depend on words, some ten or twenty characters long.
        self.lag = min(20, length - 1)
        self.summed, self.carries_state = summed, order == "sequential"
        self.alphabet = alphabet_of(whole, _PLACES)
        self._codes = encode(whole, self.alphabet)
        self.input_size = self.output_size = len(self.alphabet) + 1
        self.baseline = entropy(self._codes) * (length if summed else 1)
        self.data_digest = digest_text(whole)
        self._written = written

    def batch(self, rng: np.random.Generator, size: int) -> Batch:
        """Draw pieces that begin anywhere.

        Args:
            rng: the only source of chance.
            size: how many pieces.

        Returns:
            One-hot inputs (time, batch, character) and the numbers of the characters that follow each (time, batch).
        """
        return self._pieces(rng.integers(0, len(self._codes) - self.length, size))

    def batches(self, rng: np.random.Generator, size: int) -> Iterator[tuple[Batch, bool]]:
        """Draw batches without end, cut as the task says.

        Args:
            rng: the only source of chance; a text that is read in order needs none.
            size: how many pieces in each.

        Yields:
            A batch, and whether the state begins anew with it.

        Raises:
            UsageError: there are not so many strands of at least one piece.
        """
        if not self.carries_state:
            yield from super().batches(rng, size)
        strand = (len(self._codes) - 1) // size
        if strand < self.length:
            raise UsageError(
                f"a text of {len(self._codes)} characters makes no {size} strands of pieces of {self.length}: take "
                "smaller batches"
            )
        while True:
            for place in range(0, strand - self.length + 1, self.length):
                yield self._pieces(place + strand * np.arange(size)), place == 0

    def exhibits(self, answer: Answer, state: Any) -> Sequence[Shown]:  # noqa: ANN401, ARG002 - it begins from zeros
        """Let the network write at each temperature, from the text's first characters on.

        Args:
            answer: the network.
            state: not used.

        Returns:
            One text a temperature.
        """
        prompt = self._codes[: min(self.length, 10)].tolist()
        return [
            Sample(
                f"temperature {temperature:g}",
                self._text(
                    write(answer, prompt, self.input_size, self._written, temperature, np.random.default_rng(0))
                ),
            )
            for temperature in self._temperatures
        ]

    def _text(self, codes: Sequence[int]) -> str:
        return "".join(self.alphabet[code] if code < len(self.alphabet) else _UNKNOWN for code in codes)

    def _pieces(self, start: np.ndarray) -> Batch:
        windows = self._codes[start[None, :] + np.arange(self.length + 1)[:, None]]
        return Batch(np.eye(self.input_size, dtype=np.float32)[windows[:-1]], windows[1:])


def chinese_text() -> str:
    """Return the short story that comes with this package."""
    return (resources.files("gradscope.tasks") / "chinese.txt").read_text(encoding="utf-8")

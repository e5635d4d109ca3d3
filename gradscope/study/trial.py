"""One trial of a study: everything that decides its numbers, and the name that follows from it."""

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

# Raised when a trial of the same settings would give other numbers than before, so that old results are not reused.
_MEANING = 1


@dataclass(frozen=True)
class Trial:
    """The resolved settings of one training.

    Attributes:
        task: name of the task, `adding` or `text`.
        length: times in a sequence.
        lag: how many times back the user says that the task looks; None leaves it to the task.
        text_path: file of the text task; empty for the built-in text. No part of the id: the digest stands for it.
        text_digest: SHA-256 of that text; empty for other tasks.
        cell: `rnn_tanh`, `rnn_relu`, `lstm` or `gru`.
        initialisation: as the study writes it, for example `normal(0.001)`.
        clipping: as the study writes it, for example `norm(1.0)`.
        seed: of the weights and of the data.
        hidden: units of the recurrent layer.
        iterations: optimiser steps.
        batch: sequences in a batch.
        optimizer: `adam`, `sgd` or `rmsprop`.
        learning_rate: its learning rate.
        every: one iteration in so many is recorded.
    """

    task: str
    length: int
    lag: int | None
    text_path: str
    text_digest: str
    cell: str
    initialisation: str
    clipping: str
    seed: int
    hidden: int
    iterations: int
    batch: int
    optimizer: str
    learning_rate: float
    every: int

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name, as they are kept with the trial's run."""
        return asdict(self)

    @property
    def id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the settings that decide the numbers."""
        deciding = {name: value for name, value in self.settings.items() if name != "text_path"}
        canonical = json.dumps(deciding | {"meaning": _MEANING}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The trial in a few words, for messages."""
        return f"{self.task}, {self.cell}, {self.initialisation}, clipping {self.clipping}, seed {self.seed}"

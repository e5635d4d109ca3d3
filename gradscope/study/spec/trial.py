"""One trial of a study: everything that decides its numbers, and the name that follows from it."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from gradscope.study.spec.task_settings import PATHS

# Raised when a trial of the same settings would give other numbers than before, so that old results are not reused.
_MEANING = 2

# What says where something lies, not what it is: digests stand for it.
_PLACES = ("folder",)

# Settings that were added since, and what all trials had before.
_LATER: Mapping[str, Any] = {"measures": [], "rate_schedule": "constant", "together": False}


@dataclass(frozen=True)
class Trial:
    """The resolved settings of one training.

    Attributes:
        task: name of the task in its study.
        kind: what kind of task that is, a key of the table of tasks or `module:name`.
        options: what the study sets of it.
        length: times in a sequence.
        cell: a key of the table of cells, or `module:name`.
        initialisation: as the study writes it, for example `normal(0.001)`.
        clipping: as the study writes it, for example `norm(1.0)`.
        seed: of the weights and of the data.
        hidden: units of the recurrent layer.
        iterations: optimiser steps.
        batch: sequences in a batch.
        optimizer: `adam`, `sgd`, `rmsprop` or `adagrad`.
        learning_rate: its learning rate.
        rate_schedule: `constant`, or `cosine`: down to 0 along half a cosine.
        together: whether it may be trained as one program with others, which changes its numbers by rounding.
        every: one iteration in so many is recorded.
        exhibits: after how many iterations the task shows what the network can do.
        measures: what is measured of the network then, keys of the table of measures or `module:name`.
        modules: imported first, for what they add to the tables.
        folder: where the study file lies, and so perhaps the user's modules. No part of the id.
        data_digest: of the task's data, where these are not drawn.
        code_digest: of the user's modules.
    """

    task: str
    kind: str
    length: int
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
    options: Mapping[str, Any] = field(default_factory=dict)
    exhibits: tuple[int, ...] = ()
    measures: tuple[str, ...] = ()
    rate_schedule: str = "constant"
    together: bool = False
    modules: tuple[str, ...] = ()
    folder: str = ""
    data_digest: str = ""
    code_digest: str = ""

    @property
    def settings(self) -> dict[str, Any]:
        """All settings by name, as they are kept with the trial's run: what JSON can say."""
        lists = {name: list(getattr(self, name)) for name in ("exhibits", "measures", "modules")}
        return asdict(self) | lists

    @property
    def id(self) -> str:
        """First 16 hexadecimal digits of the SHA-256 of the settings that decide the numbers."""
        deciding = {name: value for name, value in self.settings.items() if name not in _PLACES}
        # A setting that came later and is left as it was decides nothing: what was trained before it counts still.
        for name, before in _LATER.items():
            if deciding[name] == before:
                del deciding[name]
        deciding["options"] = {name: value for name, value in self.options.items() if name not in PATHS}
        canonical = json.dumps(deciding | {"meaning": _MEANING}, sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    @property
    def label(self) -> str:
        """The trial in a few words, for messages."""
        return f"{self.task}, {self.cell}, {self.initialisation}, clipping {self.clipping}, seed {self.seed}"

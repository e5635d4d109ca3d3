"""T16: what a task's loss is for an answer that ignores the input."""

import numpy as np
import torch
from torch import nn

from gradscope.tasks.adding import Adding
from gradscope.tasks.copy_memory import SYMBOLS, CopyMemory
from gradscope.truth.case import Check, Curve, Outcome, Picture, TruthCase

_COPY = {100: 0.1733, 500: 0.0400}
_DRAWN = 20_000


def _run() -> Outcome:
    adding = Adding()
    targets = adding.batch(np.random.default_rng(16), _DRAWN).targets
    loss = float(np.mean((targets.astype(np.float64) - 1) ** 2))
    # The squared error of a sum of two uniform numbers has a standard deviation of 0.197.
    chance = 4 * 0.197 / _DRAWN**0.5
    checks = [
        Check("adding, the task's baseline", 1 / 6, adding.baseline, 1e-12),
        Check("adding, loss of always answering 1, drawn", 1 / 6, loss, chance),
        *(
            Check(
                f"copy memory after T = {wait}, averaged over all times",
                known,
                CopyMemory(wait).published_baseline,
                5e-5,
            )
            for wait, known in _COPY.items()
        ),
        Check("copy memory, loss of equal odds, per symbol", CopyMemory(100).baseline, _equal_odds(), 1e-12),
    ]
    waits = list(range(20, 501, 20))
    copy = Curve(
        "copy memory",
        waits,
        [CopyMemory(wait).published_baseline for wait in waits],
        # ln 8 = 2.0794415
        [20.794415 / (wait + 20) for wait in waits],
    )
    return Outcome(tuple(checks), Picture("wait T", "baseline loss [nats]", (copy,)))


def _equal_odds() -> float:
    """Return the cross entropy, by torch, of a network that gives every symbol the same odds."""
    symbols = CopyMemory(100).batch(np.random.default_rng(16), 10).targets
    answers = torch.zeros(symbols.size, SYMBOLS, dtype=torch.float64)
    return float(nn.functional.cross_entropy(answers, torch.from_numpy(symbols).flatten()))


CASE = TruthCase(
    "T16",
    "Baselines of the tasks",
    "The adding problem without looking: 1/6. Copying ten of eight symbols over T times by guessing: "
    "10 ln 8 / (T + 20), averaged over all times.",
    "Variance of a sum of two uniform numbers; Arjovsky, Shah & Bengio 2016, arXiv:1511.06464.",
    _run,
)

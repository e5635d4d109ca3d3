"""Trials written by hand: run folders whose gradient decays at a rate that the test chose."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from gradscope.runs import RunWriter
from gradscope.study.training.outcome import Outcome, write_outcome

LAYER = "rnn.l0"


def write_trial(
    root: Path,
    name: str,
    *,
    rate: float,
    task: str = "adding",
    cell: str = "rnn_tanh",
    initialisation: str = "default",
    clipping: str = "none",
    seed: int = 0,
    times: int = 40,
    sequences: int = 8,
    iterations: int = 16,
    coefficient: float = 1.0,
    status: str | None = "finished",
    loss: float = 0.1,
    everywhere: bool = False,
    layers: Sequence[str] = (LAYER,),
) -> Path:
    """Write one trial: at lag k a sequence's norm is about exp(rate * k) in float32, half the rate in the first half.

    Args:
        root: folder of the study's trials.
        name: of the trial.
        rate: nats per time, at the end of training.
        task: setting.
        cell: setting.
        initialisation: setting.
        clipping: setting.
        seed: setting.
        times: in a sequence.
        sequences: in a batch.
        iterations: recorded.
        coefficient: of clipping.
        status: of the outcome; None writes no outcome, as if it was killed.
        loss: at the end.
        everywhere: whether the loss enters at all times.
        layers: names; the same is written of each.
    """
    rng = np.random.default_rng([seed, times])
    settings = {"task": task, "cell": cell, "initialisation": initialisation, "clipping": clipping, "seed": seed}
    folder = root / name
    user = {"trial": settings, "lag": times - 1, "baseline": 0.5, "baseline_meaning": "answering 1"}
    writer = RunWriter(
        folder, {"dtype": "float32", "layers": {layer: {"kind": cell} for layer in layers}, "user": user}
    )
    back = np.arange(times)[::-1]
    for iteration in range(iterations):
        now = rate if iteration >= iterations // 2 else rate / 2
        norms = np.exp(now * back)[:, None] * rng.uniform(0.9, 1.1, sequences)
        norms = norms.astype(np.float32).astype(np.float64)
        mean = norms.mean(axis=1)
        count = len(layers)
        timesteps = {
            "iteration": np.full(times * count, iteration),
            "layer": [layer for layer in layers for _ in range(times)],
            "call": np.zeros(times * count, dtype=np.int64),
            "time": np.tile(np.arange(times), count),
            "hidden_norm": np.ones(times * count),
            "total_gradient_norm": np.tile(mean, count),
            "direct_gradient_norm": np.tile(mean if everywhere else np.where(back == 0, mean, 0.0), count),
            "nonfinite": np.zeros(times * count, dtype=np.int64),
            "sequence_norms": list(norms) * count,
        }
        writer.write(
            {
                "timesteps": timesteps,
                "iterations": {
                    "iteration": np.array([iteration]),
                    "loss": np.array([1.0 if iteration < iterations - 2 else loss]),
                    "gradient_norm": np.array([2.0]),
                    "clipped_gradient_norm": np.array([2.0 * coefficient]),
                    "clip_coefficient": np.array([coefficient]),
                    "clip_cosine": np.array([1.0]),
                },
            }
        )
    writer.close()
    outcome = Outcome(
        trial=name,
        settings=settings,
        iterations=iterations,
        seconds=1.5,
        lag=times - 1,
        baseline=0.5,
        baseline_meaning="answering 1",
    )
    if status is not None:
        reason = "" if status == "finished" else f"it {status} in iteration 7"
        write_outcome(folder, replace(outcome, status=status, reason=reason))
    return folder

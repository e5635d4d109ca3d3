"""Run folders with known content, written by the real writer."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gradscope.runs import Run, RunWriter, open_run

LAYER = "rnn.l0"
LAST_TIME_ONLY = "last"
EVERY_TIME = "every"


def timesteps(
    iteration: int,
    norms: np.ndarray,
    *,
    layer: str = LAYER,
    call: int = 0,
    loss: str = LAST_TIME_ONLY,
    **columns: object,
) -> dict[str, object]:
    """The timesteps of one call whose sequences have these total-gradient norms (time, sequence)."""
    times = len(norms)
    direct = np.zeros(times) if loss == LAST_TIME_ONLY else np.ones(times)
    direct[-1:] = 1.0
    return {
        "iteration": np.full(times, iteration),
        "layer": [layer] * times,
        "call": np.full(times, call),
        "time": np.arange(times),
        "total_gradient_norm": norms.mean(axis=1),
        "direct_gradient_norm": direct,
        "nonfinite": (~np.isfinite(norms)).sum(axis=1),
        "sequence_norms": list(norms),
        **columns,
    }


def flush(
    iteration: int, norms: np.ndarray | None = None, *, logged: Mapping[str, object] | None = None, **timed: object
):
    """One flush of one iteration, recorded if norms are given."""
    tables: dict[str, dict[str, object]] = {
        "iterations": {"iteration": [iteration], **{name: [value] for name, value in (logged or {}).items()}}
    }
    if norms is not None:
        tables["timesteps"] = timesteps(iteration, norms, **timed)
    return tables


def exponential(rate: float, times: int = 60, sequences: int = 16, noise: float = 0.0, seed: int = 0) -> np.ndarray:
    """Norms (time, sequence) that change by exp(rate) a lag, each sequence with a factor and a scatter of its own."""
    rng = np.random.default_rng(seed)
    lags = np.arange(times)[::-1, None]
    return np.exp(rate * lags + noise * rng.normal(size=(1, sequences)) + noise * rng.normal(size=(times, sequences)))


def plant(
    folder: Path,
    norms: Callable[[int], np.ndarray],
    *,
    iterations: Sequence[int] = range(8),
    logged: Callable[[int], Mapping[str, object]] = lambda iteration: {
        "loss": 1.0 / (iteration + 1),
        "gradient_norm": 1.0,
    },
    metadata: Mapping[str, object] | None = None,
    loss: str = LAST_TIME_ONLY,
    layer: str = LAYER,
) -> Run:
    """A complete run of one layer, one flush an iteration."""
    kind = {"kind": "rnn_tanh", "input_size": 2, "hidden_size": 8}
    writer = RunWriter(folder, {"dtype": "float32", "layers": {layer: kind}, **(metadata or {})})
    for iteration in iterations:
        writer.write(flush(iteration, norms(iteration), logged=logged(iteration), loss=loss, layer=layer))
    writer.close({"recorded": len(iterations)})
    return open_run(folder)

"""A run written by hand: two layers, gates, parameters, clipping, all with known numbers."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from gradscope.runs import RunWriter

TIMES, SEQUENCES = 30, 6


def write_run(
    folder: Path,
    *,
    rates: Mapping[str, float] | None = None,
    kind: str = "lstm",
    iterations: int = 12,
    coefficient: float = 0.5,
    metadata: Mapping[str, object] | None = None,
    close: bool = True,
    bad_iteration: int | None = None,
    everywhere: bool = False,
) -> Path:
    """Write a run whose total gradient in each layer is exp(rate * lag).

    Args:
        folder: of the run.
        rates: layer -> nats per time.
        kind: of all layers.
        iterations: how many are recorded; 0 writes an empty run.
        coefficient: of clipping.
        metadata: what the user gave.
        close: whether the run was closed.
        bad_iteration: one whose gradients are not finite.
        everywhere: whether the loss enters at all times.
    """
    rates = {"encoder.l0": -0.6, "encoder.l1": -0.01} if rates is None else rates
    layers = {layer: {"kind": kind, "input_size": 3, "hidden_size": 8} for layer in rates}
    own = {"dtype": "float32", "layers": layers, "schedule": "Every(2)", "keep": "norms", "gradscope": "0.1.0"}
    writer = RunWriter(folder, {**own, "user": dict(metadata or {})})
    for iteration in range(iterations):
        moments = [_moments(layer, rate, iteration, everywhere) for layer, rate in rates.items()]
        if iteration == bad_iteration:
            for moment in moments:
                moment["nonfinite"] = np.full(TIMES, 2)
                moment["total_gradient_norm"] = np.full(TIMES, np.inf)
                moment["sequence_norms"] = [np.full(SEQUENCES, np.inf)] * TIMES
        writer.write(
            {
                "timesteps": _stacked(moments),
                "gates": _stacked(
                    [_gate(layer, gate, iteration) for layer in rates for gate in ("forget", "input") if kind == "lstm"]
                ),
                "parameters": {
                    "iteration": np.full(2, iteration),
                    "parameter": ["weight_hh_l0", "weight_ih_l0"],
                    "gradient_norm": np.array([0.3, 0.2]),
                    "weight_norm": np.array([4.0, 2.0]),
                    "update_norm": np.array([0.004, 0.004]),
                },
                "iterations": {
                    "iteration": np.array([iteration]),
                    "loss": np.array([1.0 / (1 + iteration)]),
                    "gradient_norm": np.array([2.0]),
                    "clipped_gradient_norm": np.array([2.0 * coefficient]),
                    "clip_coefficient": np.array([coefficient]),
                    "clip_cosine": np.array([1.0]),
                    "accuracy": np.array([0.1 * iteration]),
                },
            }
        )
    if close:
        writer.close({"overhead": 0.034, "recorded": iterations, "dropped": {}})
    return folder


def _moments(layer: str, rate: float, iteration: int, everywhere: bool) -> dict[str, object]:
    back = np.arange(TIMES)[::-1]
    norms = np.exp(rate * back)[:, None] * np.random.default_rng(iteration).uniform(0.9, 1.1, SEQUENCES)
    mean = norms.mean(axis=1)
    return {
        "iteration": np.full(TIMES, iteration),
        "layer": [layer] * TIMES,
        "call": np.zeros(TIMES, dtype=np.int64),
        "time": np.arange(TIMES),
        "hidden_norm": np.ones(TIMES),
        "total_gradient_norm": mean,
        "direct_gradient_norm": mean / 2 if everywhere else np.where(back == 0, mean, 0.0),
        "nonfinite": np.zeros(TIMES, dtype=np.int64),
        "sequence_norms": list(norms),
    }


def _gate(layer: str, gate: str, iteration: int) -> dict[str, object]:
    return {
        "iteration": np.full(TIMES, iteration),
        "layer": [layer] * TIMES,
        "call": np.zeros(TIMES, dtype=np.int64),
        "time": np.arange(TIMES),
        "gate": [gate] * TIMES,
        "mean": np.full(TIMES, 0.7),
        "low": np.full(TIMES, 0.05),
        "high": np.full(TIMES, 0.2),
    }


def _stacked(parts: list[dict[str, object]]) -> dict[str, object]:
    if not parts:
        return {"iteration": np.array([], dtype=np.int64)}
    lists = {"layer", "gate", "sequence_norms"}
    return {
        name: [entry for part in parts for entry in part[name]]
        if name in lists
        else np.concatenate([np.asarray(part[name]) for part in parts])
        for name in parts[0]
    }

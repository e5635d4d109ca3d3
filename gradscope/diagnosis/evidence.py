"""What the rules look at: each layer's decay at the start and at the end of a run, worked out once."""

from dataclasses import dataclass

import pandas as pd

from gradscope.analysis import Decay, Verdict, loss_times, phase_iterations, run_decay, verdict
from gradscope.analysis.amplification import amplification
from gradscope.runs import Run


@dataclass(frozen=True)
class LayerEvidence:
    """One layer through a run.

    Attributes:
        layer: Its name.
        kind: "rnn_tanh", "rnn_relu", "lstm", "gru", or "" if the run does not say.
        lag: How far back the task has to look; None if the run does not say.
        loss_times: At how many times the loss enters.
        iterations: The recorded iterations that the decay at the end is from: the last quarter.
        start: Decay in the first quarter of the recorded iterations.
        end: Decay in the last quarter.
        start_verdict: Judged by the lag.
        verdict: The same of the end.
        amplification: Growth that is certain although the loss enters at many times, see `amplification`.
        timesteps: The layer's rows of the run's table.
    """

    layer: str
    kind: str
    lag: int | None
    loss_times: int
    iterations: tuple[int, ...]
    start: Decay
    end: Decay
    start_verdict: Verdict
    verdict: Verdict
    amplification: float
    timesteps: pd.DataFrame


def task_lag(run: Run) -> int | None:
    """Return how far back the task has to look, where `watch(metadata={"lag": ...})` or a study said it."""
    user = run.metadata.get("user")
    lag = user.get("lag") if isinstance(user, dict) else None
    return lag if type(lag) is int and lag > 0 else None


def layer_evidence(run: Run, layer: str) -> LayerEvidence | None:
    """Return what a run knows of a layer, None if it was never recorded."""
    timesteps = run.timesteps[run.timesteps["layer"] == layer]
    if timesteps.empty:
        return None
    lag, losses = task_lag(run), loss_times(timesteps)
    start, end = run_decay(run, layer, phase="start"), run_decay(run, layer, phase="end")
    iterations = phase_iterations(run, layer, "end")
    late = timesteps[timesteps["iteration"].isin(iterations)]
    return LayerEvidence(
        layer=layer,
        kind=_kind(run, layer),
        lag=lag,
        loss_times=losses,
        iterations=tuple(iterations),
        start=start,
        end=end,
        start_verdict=verdict(start, lag, loss_times=losses),
        verdict=verdict(end, lag, loss_times=losses),
        amplification=amplification(late, reverse=layer.endswith("_reverse")),
        timesteps=timesteps,
    )


def _kind(run: Run, layer: str) -> str:
    layers = run.metadata.get("layers")
    described = layers.get(layer) if isinstance(layers, dict) else None
    return str(described.get("kind", "")) if isinstance(described, dict) else ""

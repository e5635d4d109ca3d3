"""What the rules look at: each layer's decay at the start and at the end of a run, worked out once."""

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float, Int

from gradscope.analysis import Decay, Verdict, phase_iterations, run_decay, run_loss_times, underflow_floor, verdict
from gradscope.analysis.amplification import amplification
from gradscope.analysis.loss_ends import ends_differ
from gradscope.analysis.onset import first_lasting, rates_by_sequence, rates_through_training
from gradscope.analysis.pooling import evenly_spaced
from gradscope.runs import Run


@dataclass(frozen=True, eq=False)
class LayerEvidence:
    """One layer through a run.

    Attributes:
        layer: Its name.
        kind: "rnn_tanh", "rnn_relu", "lstm", "gru", or "" if the run does not say.
        lag: How far back the task has to look; None if the run does not say.
        loss_times: At how many times the loss enters a sequence.
        iterations: The recorded iterations that the decay at the end is from: the last quarter.
        start: Decay in the first quarter of the recorded iterations.
        end: Decay in the last quarter.
        start_verdict: Judged by the lag.
        verdict: The same of the end.
        amplification: Growth that is certain although the loss enters at many times, see `amplification`; NaN where it
            enters once.
        timesteps: The layer's rows of the run's table.
        run: The run itself, for rules that look at more than gradients.
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
    run: Run = field(repr=False)

    @property
    def reverse(self) -> bool:
        """Whether the layer reads from the last time to the first."""
        return self.layer.endswith("_reverse")

    @property
    def first_iteration(self) -> int:
        """The first recorded iteration."""
        return int(self.timesteps["iteration"].min())

    @cached_property
    def ends_differ(self) -> bool:
        """Whether sequences end at different times, each with its own loss: a time of the batch is no lag then."""
        return ends_differ(self.timesteps, self.loss_times)

    @cached_property
    def late(self) -> pd.DataFrame:
        """The rows of the last quarter of the recorded iterations."""
        return self.timesteps[self.timesteps["iteration"].isin(self.iterations)]

    @cached_property
    def gates(self) -> pd.DataFrame:
        """The layer's gates; no rows if it has none."""
        return self.run.gates[self.run.gates["layer"] == self.layer]

    @cached_property
    def late_gates(self) -> pd.DataFrame:
        """The gates in the last quarter of the recorded iterations."""
        return self.gates[self.gates["iteration"].isin(self.iterations)]

    @cached_property
    def rates(self) -> pd.DataFrame:
        """The decay rate at each recorded iteration."""
        floor = underflow_floor(str(self.run.metadata.get("dtype", "float32")))
        if self.ends_differ:
            return rates_by_sequence(self.run, self.layer, floor=floor)
        return rates_through_training(self.timesteps, floor=floor, reverse=self.reverse)

    def began(self, holds: Callable[[Float[np.ndarray, " recorded"]], Bool[np.ndarray, " recorded"]]) -> int | None:
        """Return the recorded iteration from which on a condition of the decay rate held, by `first_lasting`."""
        rates = self.rates["rate"].to_numpy(dtype=np.float64)
        return first_lasting(self.rates["iteration"].tolist(), holds(rates))


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
    lag, losses = task_lag(run), run_loss_times(run, layer)
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
        amplification=_amplification(run, layer, late) if losses > 1 else np.nan,
        timesteps=timesteps,
        run=run,
    )


def _amplification(run: Run, layer: str, late: pd.DataFrame) -> float:
    if not layer.endswith("_reverse"):
        return amplification(late)

    sampled = late[late["iteration"].isin(evenly_spaced(np.unique(late["iteration"]).tolist()))]

    def present(iteration: int, call: int) -> Int[np.ndarray, " time"]:
        return np.asarray((~np.isnan(run.sequence_norms(layer, iteration, call))).sum(axis=1))

    return amplification(sampled, reverse=True, present=present)


def _kind(run: Run, layer: str) -> str:
    layers = run.metadata.get("layers")
    described = layers.get(layer) if isinstance(layers, dict) else None
    return str(described.get("kind", "")) if isinstance(described, dict) else ""

"""What one trial left on disk: its outcome, its run, and the gradient of the start and the end of its training."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.analysis.decay import Decay, fit_decay, underflow_floor
from gradscope.analysis.pooling import Phase, loss_times, phase_iterations, pooled_norms
from gradscope.errors import RunError, UsageError
from gradscope.runs import Run, open_run
from gradscope.runs.places import Place
from gradscope.study.training.outcome import Outcome, read_outcome

PHASES: tuple[Phase, ...] = ("start", "end")
"""The first and the last quarter of the recorded iterations."""

RESAMPLES = 200
"""Of the bootstrap: enough to know the width of an interval to a twentieth of itself."""

_SHORTEST_WAY = 8
"""Times before the first of several answers from which a decay is fitted."""


@dataclass(frozen=True, eq=False)
class Evidence:
    """One trial, as far as it came.

    Attributes:
        folder: its run folder.
        settings: task, cell, initialisation, clipping, seed and whatever else the trial was made of.
        outcome: how it ended; a trial without an outcome on disk was stopped.
        run: its recordings; None if there are none that can be read.
    """

    folder: Place
    settings: Mapping[str, Any]
    outcome: Outcome
    run: Run | None

    @property
    def layer(self) -> str | None:
        """The layer that is judged: the first."""
        layers = self.run.layers if self.run is not None else []
        return layers[0] if layers else None

    @property
    def floor(self) -> float:
        """The norm below which the training's precision is not trusted."""
        return underflow_floor(str(self.run.metadata.get("dtype", "float32")) if self.run is not None else "float32")

    @cached_property
    def judged(self) -> bool:
        """Whether its gradients count: it finished, or diverged after some were recorded."""
        return self.outcome.status != "failed" and self.norms("end") is not None

    @cached_property
    def loss_times(self) -> int:
        """At how many times the loss enters what is judged."""
        return 1 if self._first_answer else loss_times(self.newest_calls())

    @cached_property
    def _first_answer(self) -> int:
        """The first time with an answer, where several answers stand in a row at the end; else 0.

        Before it nothing is added to the gradient any more: it only travels, as from a single answer. So that stretch
        is judged, and lag counts from there.
        """
        rows = self.newest_calls()
        if rows.empty:
            return 0
        direct = rows["direct_gradient_norm"]
        entered = rows.loc[direct.ne(0) & direct.notna(), "time"]
        first, last = (int(entered.min()), int(rows["time"].max())) if len(entered) else (0, 0)
        return first if first < last and first >= _SHORTEST_WAY else 0

    def forget(self) -> None:
        """Let go of all that is large; it is read again when it is asked for."""
        self.__dict__.pop("_norms", None)
        if self.run is not None:
            self.run.forget()

    def norms(self, phase: Phase) -> Float[np.ndarray, "time sequence"] | None:
        """Return the total-gradient norm of each sequence of a phase's iterations.

        Args:
            phase: the first or the last quarter of the recorded iterations.

        Returns:
            None if nothing was recorded.
        """
        return self._norms.get(phase)

    def decay(self, phase: Phase) -> Decay | None:
        """Return the decay over a phase.

        Args:
            phase: the first or the last quarter of the recorded iterations.

        Returns:
            None if nothing was recorded.
        """
        return self._decays.get(phase)

    @cached_property
    def _norms(self) -> dict[Phase, Float[np.ndarray, "time sequence"]]:
        if self.run is None or self.layer is None:
            return {}
        iterations = {phase: phase_iterations(self.run, self.layer, phase) for phase in PHASES}
        pooled = {phase: pooled_norms(self.run, self.layer, found) for phase, found in iterations.items() if found}
        return {
            phase: self._with_times_cut_off(norms[: self._first_answer + 1] if self._first_answer else norms)
            for phase, norms in pooled.items()
        }

    def _with_times_cut_off(self, norms: Float[np.ndarray, "recorded sequence"]) -> Float[np.ndarray, "time sequence"]:
        """Return the norms with a 0 for each time before the first that was recorded: the gradient is cut there."""
        length = int(self.settings.get("length", 0))
        recorded = int(self.newest_calls()["time"].nunique())
        return np.pad(norms, ((max(0, length - recorded), 0), (0, 0)))

    @cached_property
    def _decays(self) -> dict[Phase, Decay]:
        return {phase: fit_decay(norms, floor=self.floor, resamples=RESAMPLES) for phase, norms in self._norms.items()}

    def newest_calls(self, layer: str | None = None) -> pd.DataFrame:
        """Return the timesteps of a layer, of the newest call of each iteration.

        Args:
            layer: which; None for the one that is judged.
        """
        if self.run is None:
            return pd.DataFrame()
        rows = self.run.timesteps
        rows = rows[rows["layer"] == (layer or self.layer)]
        newest: pd.DataFrame = rows[rows["call"] == rows.groupby("iteration")["call"].transform("max")]
        return newest


def read_evidence(folder: Place, told: Outcome | None = None) -> Evidence:
    """Read what a trial left.

    Args:
        folder: the trial's run folder; it may be missing.
        told: how it ended, for a trial that could not leave that in its folder.

    Returns:
        The evidence. What cannot be read makes it a failed trial with a reason, not an error: one trial must not cost
        the others their report.
    """
    run, damage = _open(folder)
    outcome = read_outcome(folder) or told
    if outcome is None:
        return _stopped(folder, run, damage)
    if run is None and outcome.status != "failed":
        reason = f"{damage} Or delete {folder}: then the same command trains it again"
        outcome = replace(outcome, status="failed", reason=reason)
    return Evidence(folder, outcome.settings, outcome, run)


def _stopped(folder: Place, run: Run | None, damage: str) -> Evidence:
    """Return the evidence of a trial that never said how it ended; its run knows what it was."""
    user = run.metadata.get("user") if run is not None else None
    user = user if isinstance(user, dict) else {}
    trial = user.get("trial")
    outcome = Outcome(
        trial=folder.name,
        settings=trial if isinstance(trial, dict) else {},
        status="failed",
        reason=damage or "it was stopped before it finished",
        lag=user.get("lag"),
        baseline=user.get("baseline"),
        baseline_meaning=user.get("baseline_meaning", ""),
    )
    return Evidence(folder, outcome.settings, outcome, run)


def _open(folder: Place) -> tuple[Run | None, str]:
    try:
        run = open_run(folder)
        # Read now: a damaged part is met here, not in the middle of a table.
        _ = run.iterations, run.timesteps
    except (RunError, UsageError) as error:
        return None, str(error)
    return run, ""

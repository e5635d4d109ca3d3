"""The decay of one layer over a phase of a training run: sequences of several iterations taken together."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.analysis.decay import Decay, fit_decay, underflow_floor
from gradscope.runs import Run

Phase = Literal["start", "end"]

_MOST_ITERATIONS = 16
"""More add time but no knowledge: a phase is sampled evenly with this many."""


def phase_iterations(run: Run, layer: str, phase: Phase) -> list[int]:
    """Return the iterations of the first or the last quarter of those recorded for a layer, at least one if any."""
    timesteps = run.timesteps
    recorded = sorted(int(iteration) for iteration in timesteps.loc[timesteps["layer"] == layer, "iteration"].unique())
    quarter = max(1, len(recorded) // 4)
    return recorded[:quarter] if phase == "start" else recorded[-quarter:]


def evenly_spaced(iterations: Sequence[int], most: int = _MOST_ITERATIONS) -> list[int]:
    """Return the iterations; of more than `most` so many, evenly spaced from the first to the last."""
    if len(iterations) <= most:
        return list(iterations)
    return [iterations[i] for i in np.linspace(0, len(iterations) - 1, most).round().astype(int)]


def pooled_norms(
    run: Run, layer: str, iterations: Sequence[int], call: int | None = None
) -> Float[np.ndarray, "time sequence"]:
    """Return the total-gradient norms of all sequences of some iterations side by side.

    Args:
        run: The run.
        layer: One of its layers.
        iterations: Which; of more than 16, 16 evenly spaced ones.
        call: Which call of the layer in each iteration; None for the newest.

    Returns:
        Ordered along the way that the layer reads; a sequence that is shorter than the longest is NaN after its end.
        Empty if there are no iterations.
    """
    found = [run.sequence_norms(layer, iteration, call) for iteration in evenly_spaced(iterations)]
    pooled = np.full((max((len(n) for n in found), default=0), sum(n.shape[1] for n in found)), np.nan)
    column = 0
    for norms in found:
        pooled[: len(norms), column : column + norms.shape[1]] = _along(layer, norms)
        column += norms.shape[1]
    return pooled


def run_decay(
    run: Run,
    layer: str,
    iterations: Sequence[int] | None = None,
    call: int | None = None,
    *,
    phase: Phase = "end",
    resamples: int = 1000,
    seed: int = 0,
) -> Decay:
    """Fit the decay of the total gradient in one layer of a run.

    Args:
        run: The run.
        layer: One of its layers.
        iterations: Which iterations to pool; None for those of the phase.
        call: Which call of the layer in each iteration; None for the newest.
        phase: "start" or "end": the first or the last quarter of the recorded iterations.
        resamples: Resamples of the bootstrap over sequences.
        seed: Of the bootstrap.

    Returns:
        The decay; of no sequences if nothing was recorded.
    """
    chosen = phase_iterations(run, layer, phase) if iterations is None else iterations
    norms = pooled_norms(run, layer, chosen, call)
    floor = underflow_floor(str(run.metadata.get("dtype", "float32")))
    return fit_decay(norms, floor=floor, resamples=resamples, seed=seed)


def loss_times(timesteps: pd.DataFrame) -> int:
    """Return at how many times of the batch the loss enters or may enter, the most in any recorded call.

    Of sequences that end at different times see `run_loss_times`.

    Args:
        timesteps: A run's table, or the rows of one layer.

    Returns:
        1 for a loss at the last time only, 0 if nothing was recorded.
    """
    direct = timesteps["direct_gradient_norm"]
    # A tap or a state that is changed between times has no direct gradient to tell: a loss may enter at each.
    unknown = direct.isna() & np.isfinite(timesteps["total_gradient_norm"])
    entered = timesteps[(direct.ne(0) & direct.notna()) | unknown]
    counts = entered.groupby(["iteration", "layer", "call"], sort=False).size()
    return int(counts.max()) if len(counts) else 0


def _along(layer: str, norms: Float[np.ndarray, "time sequence"]) -> Float[np.ndarray, "time sequence"]:
    """Return the norms in the order in which the layer reads: a reverse layer ends at time 0."""
    if not layer.endswith("_reverse"):
        return norms
    missing = np.isnan(norms)
    turned = norms[::-1].copy()
    # A packed sequence's missing times, now in front, go to the end again.
    order = np.argsort(missing[::-1], axis=0, kind="stable")
    return np.take_along_axis(turned, order, axis=0) if missing.any() else turned

"""Clipping that never fires, although it was asked for or would have been needed."""

import math
import re

import numpy as np
import pandas as pd

from gradscope.analysis import number
from gradscope.analysis.clip_recommendation import ClipRecommendation, recommend_threshold
from gradscope.analysis.clipping import CLIPPED_BELOW
from gradscope.diagnosis.clipped import clip_recorded, recommendation
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_FEWEST = 20
_WINDOW = 25
_SPIKE = 10.0
_RUIN = 1.5
_NORM_CLIPPING = re.compile(r"norm\(([0-9.eE+-]+)\)")


def find_clip_never_on(run: Run) -> Finding | None:
    """Return a finding if no gradient was clipped, and either a threshold was named or one gradient stuck out.

    A threshold is named by `watch(metadata={"clip_threshold": ...})` or a study's settings. A gradient sticks out with
    ten times the median of the 25 recorded before it and no less than the median of the first ones: gradients that
    have become small by converging may scatter as they like. Unless the loss went up, it must stick out of the 25 after
    it too: where a network begins to learn, gradients become larger and stay so.
    """
    recorded = clip_recorded(run)
    norms = recorded["gradient_norm"].to_numpy(dtype=np.float64)
    if len(recorded) < _FEWEST or (recorded["clip_coefficient"] < CLIPPED_BELOW).any():
        return None
    spike = _first_spike(run, recorded)
    if spike is not None:
        # From the gradients before it alone: those after it are of a training that it has thrown.
        return _unguarded(run, recorded, spike, recommend_threshold(norms[:spike][np.isfinite(norms[:spike])]))
    threshold = _named_threshold(run)
    if threshold is None or not np.isfinite(norms).all() or threshold < _SPIKE * norms.max():
        return None
    return _out_of_reach(threshold, norms, recommendation(run))


def _unguarded(run: Run, recorded: pd.DataFrame, index: int, replayed: ClipRecommendation | None) -> Finding:
    iteration = int(recorded["iteration"].iloc[index])
    norm = float(recorded["gradient_norm"].iloc[index])
    usual = float(np.nanmedian(recorded["gradient_norm"].iloc[max(0, index - _WINDOW) : index]))
    before, after = _losses_around(run, iteration)
    loss = f" The loss went from {number(before)} to {number(after)}." if math.isfinite(before + after) else ""
    numbers: dict[str, float | int | str] = {"iteration": iteration, "norm": norm, "median_norm_before": usual}
    if math.isfinite(before + after):
        numbers |= {"loss_before": before, "loss_after": after}
    guard = f"{number(3 * usual)}, three times the usual norm"
    if replayed is not None and replayed.role == "guard" and replayed.threshold < norm:
        numbers["guard"] = replayed.threshold
        guard = number(replayed.threshold)
    return Finding(
        code="clip-never-on",
        severity="warning" if after > _RUIN * before else "info",
        layer=None,
        message=(
            f"No gradient was clipped in {len(recorded)} recorded iterations, and at iteration {iteration} one was "
            f"{number(norm / usual)} times as large as usual.{loss}"
        ),
        evidence=numbers,
        advice=(
            f"Clip the norm as a guard, at {guard}: torch.nn.utils.clip_grad_norm_ before the optimizer's step.",
            "Or let the threshold follow the gradients: AutoClip or ZClip.",
            "Look at the batch of that iteration.",
        ),
        meaning="One such step can undo many good ones; a guard costs nothing where it does not act.",
        reference=_REFERENCE,
        iteration=iteration,
    )


def _out_of_reach(threshold: float, norms: np.ndarray, replayed: ClipRecommendation | None) -> Finding:
    largest = float(norms.max())
    guard = number(3 * float(np.median(norms)) if replayed is None else replayed.threshold)
    return Finding(
        code="clip-never-on",
        severity="info",
        layer=None,
        message=(
            f"Clipping at {number(threshold)} never fired in {len(norms)} recorded iterations: the largest gradient "
            f"was {number(largest)}."
        ),
        evidence={"threshold": threshold, "largest_norm": largest, "recorded": len(norms)},
        advice=(f"As a guard, lower the threshold to about {guard}.", "Or leave it out."),
        meaning="As it is set the guard would let a gradient pass that is ten times as large as any so far.",
        reference=_REFERENCE,
    )


_REFERENCE = "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; Seetharaman et al. 2020, arXiv:2007.14469"


def _first_spike(run: Run, recorded: pd.DataFrame) -> int | None:
    norms = recorded["gradient_norm"].to_numpy(dtype=np.float64)
    first = float(np.nanmedian(norms[:_WINDOW]))
    for index in range(min(_WINDOW, _FEWEST // 2), len(norms)):
        usual = float(np.nanmedian(norms[max(0, index - _WINDOW) : index]))
        sticks_out = norms[index] >= _SPIKE * usual > 0 and norms[index] >= first and math.isfinite(norms[index])
        if sticks_out and (_passes(norms, index) or _ruins(run, int(recorded["iteration"].iloc[index]))):
            return index
    return None


def _passes(norms: np.ndarray, index: int) -> bool:
    after = norms[index + 1 : index + 1 + _WINDOW]
    return not np.isfinite(after).any() or float(np.nanmedian(after)) * _SPIKE <= norms[index]


def _ruins(run: Run, iteration: int) -> bool:
    before, after = _losses_around(run, iteration)
    return after > _RUIN * before


def _losses_around(run: Run, iteration: int) -> tuple[float, float]:
    loss = run.iterations.set_index("iteration")["loss"].dropna()
    # The loss of an iteration is computed before its step: the spike shows in the next one.
    before, after = loss[loss.index < iteration].tail(5), loss[loss.index > iteration].head(5)
    return (float(before.median()) if len(before) else math.nan), (float(after.median()) if len(after) else math.nan)


def _named_threshold(run: Run) -> float | None:
    user = run.metadata.get("user")
    if not isinstance(user, dict):
        return None
    named = user.get("clip_threshold")
    if isinstance(named, int | float) and not isinstance(named, bool) and named > 0:
        return float(named)
    trial = user.get("trial")
    said = _NORM_CLIPPING.fullmatch(str(trial.get("clipping"))) if isinstance(trial, dict) else None
    try:
        return float(said[1]) if said else None
    except ValueError:
        return None

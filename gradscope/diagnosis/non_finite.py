"""Values that are NaN or infinite, and where they came up first."""

import math

import numpy as np
import pandas as pd

from gradscope.analysis import NonfiniteOnset, nonfinite_onsets, norms_onset, number
from gradscope.analysis.nonfinite import has_nonfinite
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_MEANING = "A step with such a gradient makes every weight that it touches useless; nothing after it can be trusted."
_REFERENCE = "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; Micikevicius et al. 2018, arXiv:1710.03740 (loss scale)"

_GROWN = 1e3
_STATE = "Check the inputs and the weights: a state that is not finite makes every gradient so."
_FIRST_ADVICE = {
    "gate": _STATE,
    "cell": _STATE,
    "hidden": _STATE,
    "loss": "Look at the loss itself: a logarithm or a division at 0 in it, or outputs that overflow, make it so.",
    "direct_gradient": "Look at what comes after the layer: a finite loss has such a gradient at a square root or a "
    "norm of 0, or behind a torch.where that hides a branch.",
}


def find_non_finite_values(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if a state or gradient of the layer was not finite in any recorded iteration."""
    onsets = nonfinite_onsets(evidence.run.nonfinite)
    told = next((onset for onset in onsets if onset.layer == evidence.layer), None)
    onset = told or norms_onset(evidence.timesteps, reverse=evidence.reverse)
    if onset is None:
        return None
    bad = evidence.timesteps[has_nonfinite(evidence.timesteps)]
    table = evidence.run.nonfinite
    named = set(table.loc[table["layer"] == evidence.layer, "iteration"])
    affected, recorded = named | set(bad["iteration"]), named | set(evidence.timesteps["iteration"])
    return Finding(
        code="non-finite",
        severity="error",
        layer=evidence.layer,
        message=(
            f"NaN or infinity came up first at iteration {onset.iteration}, {onset.way}, in the {onset.tensor} at "
            f"{onset.moment}; {_of(len(affected), len(recorded))} such values."
            f"{_beside(onset, onsets)}"
        ),
        evidence={
            "iteration": onset.iteration,
            **_named(onset),
            "values": int(bad["nonfinite"].sum()),
            "iterations_affected": len(affected),
            **_order(onset, onsets),
        },
        advice=_advice(onset, evidence.run, onset.iteration),
        meaning=_MEANING,
        reference=_REFERENCE,
        iteration=onset.iteration,
    )


def find_non_finite_norms(run: Run) -> Finding | None:
    """Return a finding if the loss or a gradient of the weights was not finite.

    So too where a layer's state was not finite and the training ended before anything else of that layer was recorded.
    """
    onsets = nonfinite_onsets(run.nonfinite)
    layers = set(run.timesteps["layer"])
    own = [onset for onset in onsets if onset.layer not in layers]
    bad = _bad_norms(run) | {onset.iteration for onset in own}
    if not bad:
        return None
    first = min(bad)
    onset = next((one for one in own if one.iteration == first), None)
    subject = (
        "The loss or the norm of the weights' gradient is" if onset is None or onset.layer is None else "A state is"
    )
    where = "" if onset is None else f", {onset.way}, in the {onset.place}"
    count = f"{len(bad)} iteration{'' if len(bad) == 1 else 's'}"
    return Finding(
        code="non-finite-norm",
        severity="error",
        layer=None,
        message=(
            f"{subject} NaN or infinite at {count}, first at iteration {first}{where}."
            f"{_beside(onset, onsets)}{_unseen(onset, run)}{_norms_before(run.iterations, first)}"
        ),
        evidence={"iteration": first, "iterations_affected": len(bad), **_named(onset), **_order(onset, onsets)},
        advice=_advice(onset if onset is None or onset == onsets[0] else None, run, first),
        meaning=_MEANING,
        reference=_REFERENCE,
        iteration=first,
    )


def _of(affected: int, recorded: int) -> str:
    if recorded == 1:
        return "the one recorded iteration has"
    return f"{affected:,} of {recorded:,} recorded iterations {'has' if affected == 1 else 'have'}"


def _bad_norms(run: Run) -> set[int]:
    """Return the iterations with an infinite loss or norm, with a NaN for a norm, or said to be so by the table."""
    iterations = run.iterations
    recorded = iterations["iteration"].isin(run.timesteps["iteration"])
    # Elsewhere a NaN only says that there is no number: it was not recorded, or came by torch.autograd.grad.
    known = iterations["iteration"].isin(run.parameters["iteration"]) | run.parameters.empty
    no_norm = recorded & known & iterations["gradient_norm"].isna() & bool(iterations["gradient_norm"].notna().any())
    infinite = np.isinf(iterations["gradient_norm"]) | np.isinf(iterations["loss"])
    table = run.nonfinite
    said = table.loc[table["quantity"].isin(["loss", "parameter_gradient"]), "iteration"]
    return {int(iteration) for iteration in (*iterations.loc[no_norm | infinite, "iteration"], *said)}


def _norms_before(iterations: pd.DataFrame, first: int) -> str:
    last, middle = _last_and_median(iterations, first)
    if math.isnan(last):
        return ""
    return f" The norm recorded just before was {number(last)}, the median until then {number(middle)}."


def _last_and_median(iterations: pd.DataFrame, first: int) -> tuple[float, float]:
    """Return the last finite norm of the weights' gradient before an iteration, and the median of all until then."""
    norms = iterations.loc[iterations["iteration"] < first, "gradient_norm"]
    before = norms[np.isfinite(norms)]
    return (float(before.iloc[-1]), float(before.median())) if len(before) else (math.nan, math.nan)


def _beside(onset: NonfiniteOnset | None, onsets: list[NonfiniteOnset]) -> str:
    """Return what came up first in the whole run, where that is known."""
    if not onsets or onset is None:
        return ""
    first = onsets[0]
    if onset == first:
        return " Nothing that was looked at in the run was so before."
    return f" The first in the run is the {first.place}, {first.way}, at iteration {first.iteration}."


def _unseen(onset: NonfiniteOnset | None, run: Run) -> str:
    """Return what a loss of an iteration without hooks does not tell."""
    if onset is None or onset.quantity != "loss":
        return ""
    ended, recorded = (set(table["iteration"]) for table in (run.iterations, run.timesteps))
    unseen = onset.iteration in ended - recorded
    return " That iteration was not recorded: its states and gradients were not looked at." if unseen else ""


def _order(onset: NonfiniteOnset | None, onsets: list[NonfiniteOnset]) -> dict[str, int]:
    return {"order": onsets.index(onset)} if onset in onsets else {}


def _named(onset: NonfiniteOnset | None) -> dict[str, int | str]:
    if onset is None:
        return {}
    moment = {} if onset.time is None or onset.call is None else {"time": onset.time, "call": onset.call}
    return {**moment, "tensor": onset.tensor, "way": onset.way}


def _advice(onset: NonfiniteOnset | None, run: Run, iteration: int) -> tuple[str, ...]:
    advice = (
        "Look at the iterations before it: a gradient that grows from one to the next asks for norm clipping or a "
        "smaller learning rate.",
        "Under mixed precision check that the loss scale comes down when steps are skipped.",
    )
    last, middle = _last_and_median(run.iterations, iteration)
    if last > _GROWN * middle:
        grown = (
            "Clip the norm of the gradient, or lower the learning rate: the last norm before was "
            f"{number(last / middle)} times the median until then."
        )
        return grown, advice[1]
    first = _FIRST_ADVICE.get("" if onset is None else onset.quantity)
    return advice if first is None else (first, *advice)

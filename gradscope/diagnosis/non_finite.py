"""Values that are NaN or infinite, and where they came up first."""

import numpy as np

from gradscope.analysis import number
from gradscope.analysis.nonfinite import nonfinite_onset
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_MEANING = "A step with such a gradient makes every weight that it touches useless; nothing after it can be trusted."
_REFERENCE = "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063; Micikevicius et al. 2018, arXiv:1710.03740 (loss scale)"


def find_non_finite_values(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if a state or gradient of the layer was not finite in any recorded iteration."""
    onset = nonfinite_onset(evidence.timesteps, reverse=evidence.reverse)
    if onset is None:
        return None
    return Finding(
        code="non-finite-values",
        severity="error",
        layer=evidence.layer,
        message=(
            f"NaN or infinity came up first at iteration {onset.iteration}, in the {onset.tensor} at time "
            f"{onset.time}; {onset.iterations_affected} of {onset.iterations_recorded} recorded iterations have such "
            "values."
        ),
        evidence={
            "iteration": onset.iteration,
            "time": onset.time,
            "tensor": onset.tensor,
            "values": onset.sequences,
            "iterations_affected": onset.iterations_affected,
        },
        advice=_advice(onset.tensor),
        meaning=_MEANING,
        reference=_REFERENCE,
        iteration=onset.iteration,
    )


def find_non_finite_norms(run: Run) -> Finding | None:
    """Return a finding if the loss or the gradient's norm became infinite, or NaN where a gradient was recorded."""
    iterations = run.iterations
    recorded = iterations["iteration"].isin(run.timesteps["iteration"])
    # A NaN of an iteration that was not recorded only says that there is no number.
    no_norm = recorded & iterations["gradient_norm"].isna() & bool(iterations["gradient_norm"].notna().any())
    infinite = np.isinf(iterations["gradient_norm"]) | np.isinf(iterations["loss"])
    bad = iterations.loc[no_norm | infinite, "iteration"]
    if bad.empty:
        return None
    first = int(bad.iloc[0])
    before = iterations[(iterations["iteration"] < first) & np.isfinite(iterations["gradient_norm"])]["gradient_norm"]
    story = ""
    if len(before):
        last, middle = number(float(before.iloc[-1])), number(float(before.median()))
        story = f" The norm recorded just before was {last}, the median until then {middle}."
    return Finding(
        code="non-finite-norm",
        severity="error",
        layer=None,
        message=(
            f"The loss or the norm of the weights' gradient is NaN or infinite at {len(bad)} iterations, first at "
            f"iteration {first}.{story}"
        ),
        evidence={"iteration": first, "iterations_affected": len(bad)},
        advice=_advice("total gradient"),
        meaning=_MEANING,
        reference=_REFERENCE,
        iteration=first,
    )


def _advice(tensor: str) -> tuple[str, ...]:
    advice = (
        "Look at the iterations before it: a gradient that grows from one to the next asks for norm clipping or a "
        "smaller learning rate.",
        "Under mixed precision check that the loss scale comes down when steps are skipped.",
    )
    if tensor == "hidden state":
        return ("Check the inputs and the weights: a state that is not finite makes every gradient so.", *advice)
    return advice

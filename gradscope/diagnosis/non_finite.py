"""Values that are NaN or infinite, and where they came up first."""

import numpy as np
import pandas as pd

from gradscope.analysis import number
from gradscope.diagnosis.evidence import LayerEvidence
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run


def find_non_finite_values(evidence: LayerEvidence) -> Finding | None:
    """Return a finding if a state or gradient of the layer was not finite in any recorded iteration."""
    timesteps = evidence.timesteps
    bad = timesteps[_is_bad(timesteps)]
    if bad.empty:
        return None
    iteration = int(bad["iteration"].min())
    first = bad[bad["iteration"] == iteration]
    tensor, time = _first_tensor(first, reverse=evidence.layer.endswith("_reverse"))
    affected = int(bad["iteration"].nunique())
    recorded = int(timesteps["iteration"].nunique())
    return Finding(
        code="non-finite-values",
        severity="error",
        layer=evidence.layer,
        message=(
            f"NaN or infinity came up first at iteration {iteration}, in the {tensor} at time {time}; {affected} of "
            f"{recorded} recorded iterations have such values."
        ),
        evidence={
            "iteration": iteration,
            "time": time,
            "tensor": tensor,
            "values": int(bad["nonfinite"].sum()),
            "iterations_affected": affected,
        },
        advice=_advice(tensor),
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
    )


def _is_bad(timesteps: pd.DataFrame) -> "pd.Series[bool]":
    counted = timesteps["nonfinite"] > 0
    return counted | timesteps["total_gradient_norm"].abs().eq(np.inf) | timesteps["hidden_norm"].abs().eq(np.inf)


def _first_tensor(first: pd.DataFrame, *, reverse: bool) -> tuple[str, int]:
    # States are computed along the layer's way and gradients against it, so each begins to fail at its own end.
    recorded_states = first["hidden_norm"].notna().any()
    bad_states = first[~np.isfinite(first["hidden_norm"])] if recorded_states else first.iloc[:0]
    if len(bad_states):
        return "hidden state", int(bad_states["time"].max() if reverse else bad_states["time"].min())
    return "total gradient", int(first["time"].min() if reverse else first["time"].max())


def _advice(tensor: str) -> tuple[str, ...]:
    advice = (
        "Look at the iterations before it: a gradient that grows from one to the next asks for norm clipping or a "
        "smaller learning rate.",
        "Under mixed precision check that the loss scale comes down when steps are skipped.",
    )
    if tensor == "hidden state":
        return ("Check the inputs and the weights: a state that is not finite makes every gradient so.", *advice)
    return advice

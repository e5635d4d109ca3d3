"""Weights that have a gradient and that no step changes, while others are trained."""

import pandas as pd

from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

_FEWEST = 10
_MOST_NAMED = 4


def find_weights_left_out(run: Run) -> Finding | None:
    """Return a finding if parameters never changed although each had a gradient, and others did change.

    Neither by a recorded step, nor between two of them: another optimizer, which is not watched, would be seen by the
    weight's norm. Frozen parameters have no gradient and are none of these.
    """
    if run.parameters["iteration"].nunique() < _FEWEST:
        return None
    by_name = run.parameters.groupby("parameter", sort=False)
    still = [str(name) for name, rows in by_name if _stays(rows)]
    if not still or len(still) == by_name.ngroups:
        return None
    recorded = int(run.parameters.loc[run.parameters["parameter"].isin(still), "iteration"].nunique())
    one = len(still) == 1
    return Finding(
        code="weights-left-out",
        severity="warning",
        layer=None,
        message=(
            f"No step ever changed {_named(still)}: {'it' if one else 'each'} had a gradient in {recorded} recorded "
            "iterations and stayed as it was, while other weights were updated."
        ),
        evidence={"left_out": len(still), "parameters": by_name.ngroups, "recorded": recorded},
        advice=(
            "Give the optimizer all of them: torch.optim.Adam(model.parameters()), after every layer has been made.",
            "Look at the learning rate of their parameter group.",
            "If they are meant to stay, say so with requires_grad_(False): that saves their gradients.",
        ),
        meaning="They are still what they were at the start, however healthy their gradient: only the others learn.",
        reference="PyTorch documentation, torch.optim: parameters are those that the optimizer is constructed with",
        iteration=int(run.parameters["iteration"].min()),
    )


def _stays(rows: pd.DataFrame) -> bool:
    return bool(
        len(rows) >= _FEWEST
        and rows["update_norm"].eq(0).all()
        and rows["gradient_norm"].gt(0).all()
        and rows["weight_norm"].eq(rows["weight_norm"].iloc[0]).all()
    )


def _named(names: list[str]) -> str:
    shown = names if len(names) <= _MOST_NAMED else [*names[: _MOST_NAMED - 1], f"{len(names) - _MOST_NAMED + 1} more"]
    return " and ".join([", ".join(shown[:-1]), shown[-1]]) if len(shown) > 1 else shown[0]

"""Gradients that hold more than the iteration's own backward pass can have put in."""

from typing import TYPE_CHECKING

import numpy as np

from gradscope.analysis import number
from gradscope.analysis.weight_horizon import recurrent_weight
from gradscope.diagnosis.finding import Finding
from gradscope.runs import Run

if TYPE_CHECKING:
    import pandas as pd

_EXCESS = 1.1
_SHARE = 0.5
_FEWEST = 10


def find_left_over_gradient(run: Run) -> Finding | None:
    """Return a finding if a recurrent weight's gradient is larger than all of its times together, half of the time.

    The norm of a sum is at most the sum of the norms. What is above it was there before the backward pass, or came by
    another way than through the layer, as that of a penalty on the weight does: then it is so in the very first
    iteration too, and nothing is said. Silent where the gradient is an average over processes, and where a layer's
    weights go by other names, since they may be shared.
    """
    if len(run.ranks) > 1 or not _known(run):
        return None
    ratios = {layer: ratio for layer in run.layers if len(ratio := _ratios(run, layer)) >= _FEWEST}
    above = {layer: ratio for layer, ratio in ratios.items() if _in_excess(ratio)}
    if not above:
        return None
    worst = max(above, key=lambda layer: float(above[layer].median()))
    ratio = above[worst]
    name = next(name for name in recurrent_weight(worst) if name in set(run.parameters["parameter"]))
    count, median = int((ratio > _EXCESS).sum()), float(ratio[ratio > _EXCESS].median())
    return Finding(
        code="left-over-gradient",
        severity="warning",
        layer=None,
        message=(
            f"In {count} of {len(ratio)} recorded iterations the gradient of {name} was larger than all that "
            f"the iteration's own backward pass can have put in, {number(median)} times as large in the median: what "
            "earlier ones left there is in it."
        ),
        evidence={
            "parameter": name,
            "iterations_in_excess": count,
            "recorded": len(ratio),
            "median_excess": median,
            "layers": len(above),
        },
        advice=(
            "Call zero_grad() once for every step, before the backward pass. The optimizer's own clears the parameters "
            "that it was given, and no others: model.zero_grad() clears all.",
            "Where gradients are accumulated on purpose, step once for all that are added up, and clear them then.",
            "A penalty on the weights that came later in training has a gradient of its own: then all is well.",
        ),
        meaning=(
            "Each step goes along the sum of all gradients so far, most of them of weights that are no more: like a "
            "momentum that never fades, it runs past every minimum."
        ),
        reference="PyTorch documentation, torch.optim.Optimizer.zero_grad",
        iteration=int(ratio.index[ratio > _EXCESS][0]),
    )


def _known(run: Run) -> bool:
    shapes = run.metadata.get("parameters")
    return isinstance(shapes, dict) and all(any(name in shapes for name in recurrent_weight(one)) for one in run.layers)


def _ratios(run: Run, layer: str) -> "pd.Series[float]":
    """Return by iteration the norm of the recurrent weight's gradient over the sum of what each time adds to it.

    Of steps that change the weight: nothing is wrong with what no step is taken along.
    """
    rows = run.timesteps[run.timesteps["layer"] == layer]
    # With a NaN at one time the sum is not known.
    bound = rows.groupby("iteration")["weight_gradient_norm"].agg(lambda norms: norms.sum(skipna=False))
    updated = run.parameters[run.parameters["update_norm"] > 0]
    of_weight = updated[updated["parameter"].isin(recurrent_weight(layer))]
    ratio: pd.Series[float] = of_weight.set_index("iteration")["gradient_norm"] / bound[bound > 0]
    return ratio[np.isfinite(ratio)].sort_index()


def _in_excess(ratio: "pd.Series[float]") -> bool:
    return bool(ratio.iloc[0] <= _EXCESS and (ratio > _EXCESS).mean() >= _SHARE)

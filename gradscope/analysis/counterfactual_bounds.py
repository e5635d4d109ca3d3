"""What clipping by value, and clipping unit by unit (AGC), would surely have done.

Both look inside a parameter, and a run holds one norm of each: what they would have done exactly is not to be had.
Bounds are. An entry is never larger than the norm of its parameter, and of n entries the largest is never smaller
than that norm over sqrt(n).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import pandas as pd
from jaxtyping import Bool, Float

from gradscope.errors import UsageError

AGC_LAMBDA, AGC_LEAST_WEIGHT = 0.01, 1e-3
"""Of Brock et al. 2021, arXiv:2102.06171: |g_i| <= lambda max(|W_i|, 1e-3) for every unit i."""


@dataclass(frozen=True)
class ClipBounds:
    """How often a scheme fired at least and at most, had the gradients been the same.

    Attributes:
        scheme: Its name with its setting.
        recorded: Iterations that it was worked out for.
        least_share: Share of them in which it surely fires.
        most_share: Share of them in which it possibly does.
    """

    scheme: str
    recorded: int
    least_share: float
    most_share: float


def value_clipping_bounds(
    parameters: pd.DataFrame, shapes: Mapping[str, Sequence[int]], threshold: float
) -> ClipBounds:
    """Bound how often clipping every entry to +-threshold fires.

    Args:
        parameters: A run's table.
        shapes: Of each parameter, as a run's metadata has them; parameters without one do not count.
        threshold: Largest size of an entry.

    Returns:
        The bounds.

    Raises:
        UsageError: The threshold is not a positive number.
    """
    if not threshold > 0:
        raise UsageError(f"A clipping threshold is a positive number, got {threshold!r}.")

    def surely(rows: pd.DataFrame) -> Bool[np.ndarray, " row"]:
        entries = rows["parameter"].map(lambda name: prod(shapes[name])).to_numpy(dtype=np.float64)
        return np.asarray(_norm(rows) > threshold * np.sqrt(entries))

    def possibly(rows: pd.DataFrame) -> Bool[np.ndarray, " row"]:
        return np.asarray(_norm(rows) > threshold)

    return _bounds(f"value({threshold:.3g})", _known(parameters, shapes), surely, possibly)


def agc_bounds(
    parameters: pd.DataFrame,
    shapes: Mapping[str, Sequence[int]],
    strength: float = AGC_LAMBDA,
    least_weight: float = AGC_LEAST_WEIGHT,
) -> ClipBounds:
    """Bound how often adaptive gradient clipping fires: |g_i| > strength max(|W_i|, least_weight) in some unit i.

    If it fired in no unit, the squares of all units together would be at most
    strength^2 (|W|^2 + units least_weight^2): a larger gradient makes it fire for certain. The norms of
    single units, which would make this exact, are not recorded.

    Args:
        parameters: A run's table.
        shapes: Of each parameter. A unit is a row of a matrix; a vector is one unit.
        strength: lambda of the paper.
        least_weight: Weights below it count as this large.

    Returns:
        The bounds.
    """

    def surely(rows: pd.DataFrame) -> Bool[np.ndarray, " row"]:
        units = rows["parameter"].map(lambda name: _units(shapes[name])).to_numpy(dtype=np.float64)
        weight = rows["weight_norm"].to_numpy(dtype=np.float64)
        together = np.sqrt(np.square(weight) + units * least_weight**2)
        one_unit = np.maximum(weight, least_weight)
        return np.asarray(_norm(rows) > strength * np.where(units == 1, one_unit, together))

    def possibly(rows: pd.DataFrame) -> Bool[np.ndarray, " row"]:
        return np.asarray(_norm(rows) > strength * least_weight)

    return _bounds(f"AGC({strength:.3g})", _known(parameters, shapes), surely, possibly)


def _norm(rows: pd.DataFrame) -> Float[np.ndarray, " row"]:
    norms: Float[np.ndarray, " row"] = rows["gradient_norm"].to_numpy(dtype=np.float64)
    return norms


def _known(parameters: pd.DataFrame, shapes: Mapping[str, Sequence[int]]) -> pd.DataFrame:
    known: pd.DataFrame = parameters[parameters["parameter"].isin(list(shapes))]
    finite: pd.DataFrame = known[np.isfinite(known["gradient_norm"])]
    return finite


def _units(shape: Sequence[int]) -> int:
    return shape[0] if len(shape) > 1 else 1


def _bounds(
    scheme: str,
    rows: pd.DataFrame,
    surely: Callable[[pd.DataFrame], Bool[np.ndarray, " row"]],
    possibly: Callable[[pd.DataFrame], Bool[np.ndarray, " row"]],
) -> ClipBounds:
    if rows.empty:
        return ClipBounds(scheme, 0, np.nan, np.nan)
    fired = pd.DataFrame({"iteration": rows["iteration"], "least": surely(rows), "most": possibly(rows)})
    share = fired.groupby("iteration")[["least", "most"]].any().mean()
    return ClipBounds(scheme, int(fired["iteration"].nunique()), float(share["least"]), float(share["most"]))

"""Which NaN or infinity came first: forwards along the model and along time, then the loss, then backwards."""

import math
import re
from collections.abc import Sequence
from typing import Any

import pandas as pd

_FORWARDS = ("gate", "cell", "hidden")
_BACKWARDS = ("direct_gradient", "total_gradient", "cell_gradient")
_PHASES = (_FORWARDS, ("loss",), _BACKWARDS, ("parameter_gradient",))
_REVERSE = re.compile(r"(.*\.)?l\d+_reverse")
"""What PyTorch calls the second direction of a fused layer."""


def in_order_of_appearance(rows: pd.DataFrame, layers: Sequence[str]) -> pd.DataFrame:
    """Return the rows of a run's table `nonfinite`, the first value of each iteration first.

    Args:
        rows: of the table; a row that was found twice may stand in it twice.
        layers: in the order of the model.
    """
    rows = rows.drop_duplicates(ignore_index=True)
    depth = {layer: position for position, layer in enumerate(layers)}
    keys = [_key(row, depth) for row in rows.itertuples(index=False)]
    order = sorted(range(len(rows)), key=keys.__getitem__)
    return rows.iloc[order].reset_index(drop=True)


def _key(row: Any, depth: dict[str, int]) -> tuple[float, ...]:  # noqa: ANN401 - a row as a named tuple
    phase = next((n for n, quantities in enumerate(_PHASES) if row.quantity in quantities), len(_PHASES))
    layer = row.layer if isinstance(row.layer, str) else ""
    way = -1 if row.quantity in _BACKWARDS else 1
    along_time = -way if _REVERSE.fullmatch(layer) else way
    call, time = (0.0 if math.isnan(place) else place for place in (row.call, row.time))
    within = _PHASES[phase].index(row.quantity) if phase < len(_PHASES) else 0
    return row.iteration, phase, way * call, way * depth.get(layer, len(depth)), along_time * time, within

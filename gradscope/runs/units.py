"""Norms of single units of the parameters."""

from collections.abc import Sequence

import pandas as pd

from gradscope.errors import RunError
from gradscope.runs.layout import LISTS, ORDER
from gradscope.runs.parts import read_parts
from gradscope.runs.places import Place

_COLUMNS = ("iteration", "parameter", "unit", "gradient_norm", "weight_norm")


def unit_table(folder: Place, parts: Sequence[Place]) -> pd.DataFrame:
    """Return one row a recorded (iteration, parameter, unit).

    Args:
        folder: The run folder, for messages.
        parts: Of the parameters table.

    Returns:
        Columns iteration, parameter, unit, gradient_norm, weight_norm; empty where no part has them.

    Raises:
        RunError: The lists of a row differ in length.
    """
    lists = list(LISTS["parameters"])
    content = read_parts(parts, "parameters", [*ORDER["parameters"], *lists])
    if not set(lists) <= set(content.column_names):
        return pd.DataFrame(columns=_COLUMNS)
    rows = content.to_pandas(ignore_metadata=True).dropna(subset=lists).sort_values(list(ORDER["parameters"]))
    try:
        units = rows.explode(lists, ignore_index=True)
    except ValueError as error:
        raise RunError(f"The parameters parts of {folder} are damaged: norms of one row differ in number.") from error
    units["unit"] = units.groupby(["iteration", "parameter"]).cumcount()
    norms = {new: units[old].astype(float) for old, new in zip(lists, _COLUMNS[3:], strict=True)}
    table: pd.DataFrame = units[["iteration", "parameter", "unit"]].assign(**norms)
    return table

"""Python and numpy columns into Arrow columns of the types that the layout declares."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from gradscope.runs.layout import LISTS, TABLES

Scalar: TypeAlias = float | int | bool | str | None
ColumnLike: TypeAlias = np.ndarray | Sequence[Scalar] | Sequence[np.ndarray]
"""A 1-D array, a sequence of scalars (None is missing), or a 1-D array (or None) for each row of a list column."""


def arrow_table(table: str, columns: Mapping[str, ColumnLike]) -> Any:  # noqa: ANN401 - pyarrow ships no types
    """Return the Arrow table of one part.

    Raises:
        ValueError: A column that the table does not have, a value of a wrong type, or columns of unequal length.
    """
    known = {*TABLES[table], *LISTS.get(table, ())}
    unknown = set() if table == "iterations" else set(columns) - known
    if unknown:
        raise ValueError(f"table {table!r} has no column {sorted(unknown)}; it has {sorted(known)}")
    arrays = {name: _arrow_column(table, name, values) for name, values in columns.items()}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of table {table!r} differ in length: {lengths}")
    return pa.table(arrays)


def _arrow_column(table: str, name: str, values: ColumnLike) -> Any:  # noqa: ANN401
    try:
        if name in LISTS.get(table, ()):
            return _list_column(values)
        if name in TABLES[table]:
            return pa.array(values, type=TABLES[table][name])
        return _logged_column(values)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        raise ValueError(f"column {name!r} of table {table!r}: {error}") from error


def _logged_column(values: ColumnLike) -> Any:  # noqa: ANN401
    # Numbers become float64, so that a column that is a count in one part and a mean in the next still fits.
    array = pa.array(values)
    return array if pa.types.is_string(array.type) else array.cast("double")


def _list_column(rows: Any) -> Any:  # noqa: ANN401 - an array of arrays has no narrower type
    # One flat buffer cut into rows: through Python lists of floats it would cost a hundred times as much.
    present = [np.asarray(row) for row in rows if row is not None]
    if any(row.ndim != 1 for row in present):
        raise pa.ArrowInvalid("each row of a list column is a 1-D array")
    flat = np.concatenate(present) if present else np.empty(0)
    flat = flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)
    lengths = [0 if row is None else len(row) for row in rows]
    offsets = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)]).astype(np.int32)
    missing = np.array([row is None for row in rows], dtype=bool)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), mask=pa.array(missing))

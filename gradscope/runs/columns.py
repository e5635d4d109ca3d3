"""Python and numpy columns into Arrow columns of the types that the layout declares."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa

from gradscope.runs.layout import LISTS, TABLES

Scalar: TypeAlias = float | int | bool | str | None
ColumnLike: TypeAlias = np.ndarray | Sequence[Scalar] | Sequence[np.ndarray]
"""A 1-D array, or a sequence of scalars (None is missing); for a list column a sequence of 1-D arrays, a row each, of
2-D arrays, several rows each, or of None."""


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
    blocks = [None if row is None else np.atleast_2d(np.asarray(row)) for row in rows]
    present = [block for block in blocks if block is not None]
    if any(block.ndim != 2 for block in present):
        raise pa.ArrowInvalid("a list column is made of 1-D arrays, a row each, or 2-D arrays, rows of equal length")
    flat = np.concatenate([block.ravel() for block in present]) if len(present) != 1 else present[0].ravel()
    flat = flat if flat.dtype in (np.float32, np.float64) else flat.astype(np.float64)
    lengths = np.concatenate([[0], *(np.zeros(1) if b is None else np.full(len(b), b.shape[1]) for b in blocks)])
    missing = np.concatenate([np.full(1 if b is None else len(b), b is None) for b in blocks] or [np.empty(0, bool)])
    offsets = np.cumsum(lengths, dtype=np.int64).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat), mask=pa.array(missing))

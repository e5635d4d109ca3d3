"""The Parquet parts of a run as they stand at one moment, and their content as data frames."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from gradscope.errors import RunError
from gradscope.runs.layout import COMMITTED, ORDER, TABLES, Part, parse_part
from gradscope.runs.manifest import Manifest
from gradscope.runs.places import Place, each_of, seekable, sizes

_MISSING = "it is missing"


@dataclass(frozen=True)
class Snapshot:
    """The committed parts of a run, by table, in the order in which they were written."""

    folder: Place
    parts: Mapping[str, tuple[Place, ...]]


def take_snapshot(folder: Place, manifest: Manifest) -> Snapshot:
    """Return the parts that belong to whole flushes.

    Raises:
        RunError: A committed part is gone, truncated or damaged.
    """
    flushes = _announced_flushes(folder, manifest)
    # Listed again: files renamed while a folder is being listed may be missed, an earlier one too where a later one is
    # seen. What the first listing announces was there before the second one began.
    there = _sizes(folder)
    marks = [folder / Part("iterations", manifest.writer, flush).name for flush in range(flushes)]
    for mark in marks:
        if mark.name not in there:
            raise RunError(_damaged(mark, _MISSING))
    parts: dict[str, list[Place]] = {table: [] for table in TABLES} | {"iterations": marks}
    for flush, committed in enumerate(each_of(_committed_by, marks)):
        for table, size in committed.items():
            path = folder / Part(table, manifest.writer, flush).name
            if there.get(path.name) != size:
                raise RunError(_damaged(path, _mismatch(there.get(path.name), size)))
            parts[table].append(path)
    return Snapshot(folder, {table: tuple(paths) for table, paths in parts.items()})


def read_parts(paths: Sequence[Place], table: str, columns: Sequence[str] | None) -> Any:  # noqa: ANN401 - pyarrow has no types
    """Read some columns of some parts into one Arrow table, with the declared types.

    Args:
        paths: The parts, all of the same table.
        table: The table that they belong to.
        columns: Which columns; None for all. Those that a part lacks are null there.

    Returns:
        An Arrow table; its columns are those that any part has.
    """
    tables = each_of(lambda path: _guarded(path, partial(_read_part, path, table, columns)), paths)
    if not tables:
        return pa.table({})
    return _guarded(paths[0].parent, lambda: pa.concat_tables(_harmonised(tables), promote_options="default"))


def data_frame(content: Any, table: str) -> pd.DataFrame:  # noqa: ANN401
    """Return a data frame with all declared columns first, missing values NaN, integers int64."""
    # In Arrow, column by column: in pandas each costs a hundred times as much.
    columns = {name: _declared(content, name, kind) for name, kind in TABLES[table].items()}
    columns |= {name: content[name] for name in content.column_names if name not in columns}
    frame: pd.DataFrame = pa.table(columns).to_pandas(ignore_metadata=True)
    return frame


def _declared(content: Any, name: str, kind: str) -> Any:  # noqa: ANN401
    column = content[name] if name in content.column_names else pa.nulls(len(content), type=kind)
    return pc.fill_null(column, 0) if kind == "int64" and column.null_count else column


def iteration_range(path: Place) -> tuple[float, float]:
    """Return the first and last iteration that a part holds; minus and plus infinity where its footer does not say."""
    return _guarded(path, partial(_iteration_range, path))  # type: ignore[no-any-return]


def _iteration_range(path: Place) -> tuple[float, float]:
    low, high = math.inf, -math.inf
    with pq.ParquetFile(seekable(path)) as file:
        column = file.schema_arrow.names.index("iteration")
        for group in range(file.metadata.num_row_groups):
            statistics = file.metadata.row_group(group).column(column).statistics
            if statistics is None or not statistics.has_min_max:
                return -math.inf, math.inf
            low, high = min(low, statistics.min), max(high, statistics.max)
    return low, high


def _announced_flushes(folder: Place, manifest: Manifest) -> int:
    marks = (part.flush for name in _sizes(folder) if (part := parse_part(name)) and _is_mark(part, manifest))
    return max(max(marks, default=-1) + 1, manifest.flushes or 0)


def _is_mark(part: Part, manifest: Manifest) -> bool:
    return part.table == "iterations" and part.writer == manifest.writer


def _sizes(folder: Place) -> dict[str, int]:
    try:
        return {name: size for name, size in sizes(folder).items() if not name.startswith(".")}
    except OSError as error:
        raise RunError(f"Cannot read the run {folder}: {error.strerror or error}.") from error


def _committed_by(mark: Place) -> dict[str, int]:
    # Which other parts the same flush wrote, and their sizes in bytes.
    metadata = _guarded(mark, lambda: pq.read_metadata(seekable(mark)).metadata) or {}
    try:
        committed = json.loads(metadata[COMMITTED])
        return {table: int(committed[table]) for table in TABLES if table in committed}
    except (KeyError, TypeError, ValueError, RecursionError):
        raise RunError(_damaged(mark, "it does not say which parts it commits")) from None


def _read_part(path: Place, table: str, columns: Sequence[str] | None) -> Any:  # noqa: ANN401
    with pq.ParquetFile(seekable(path)) as file:
        names = file.schema_arrow.names
        if absent := [name for name in ORDER[table] if name not in names]:
            raise ValueError(f"it has no column {absent[0]!r}")
        wanted = names if columns is None else [name for name in columns if name in names]
        content = file.read(columns=wanted, use_threads=False)
    content.validate(full=True)
    for index, name in enumerate(content.column_names):
        if name in TABLES[table]:
            content = content.set_column(index, name, content[name].cast(TABLES[table][name]))
    for name in ORDER[table]:
        if name in wanted and content[name].null_count:
            raise ValueError(f"column {name!r} has missing values")
    return content.replace_schema_metadata(None)


def _harmonised(tables: list[Any]) -> list[Any]:
    # A logged column that is text in one part and numbers in another is text in all.
    kinds: dict[str, set[str]] = {}
    for content in tables:
        for column in content.schema:
            kinds.setdefault(column.name, set()).add(str(column.type))
    mixed = {name for name, found in kinds.items() if "string" in found and found - {"string", "null"}}
    if not mixed:
        return tables
    return [
        pa.table({n: content[n].cast("string") if n in mixed else content[n] for n in content.column_names})
        for content in tables
    ]


def _guarded(path: Place, read: Callable[[], Any]) -> Any:  # noqa: ANN401
    """Return what `read` returns, or say with the file's name what is wrong with a damaged part.

    Raises:
        RunError: The file is gone or is not what the writer wrote.
    """
    try:
        return read()
    except (OSError, ValueError, TypeError, KeyError, NotImplementedError, pa.ArrowException) as error:
        why = str(error).strip().partition("\n")[0].rstrip(".") or type(error).__name__
        raise RunError(_damaged(path, why)) from error


def _mismatch(found: int | None, expected: int) -> str:
    return _MISSING if found is None else f"it has {found} bytes where {expected} were written"


def _damaged(path: Place, why: str) -> str:
    return (
        f"The part {path} is damaged: {why}. Restore the file from a copy of the run, or record the run again; "
        "if the run is being overwritten just now, open it again."
    )

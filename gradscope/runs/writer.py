"""Writes a run folder so that a process killed at any moment leaves it readable up to its last flush."""

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gradscope.errors import RunError
from gradscope.runs.columns import ColumnLike, arrow_table
from gradscope.runs.layout import COMMITTED, RUN_FILE, TABLES, Part, is_ours, is_run_file, rank_file, temporary_name
from gradscope.runs.manifest import Manifest, manifest_content, read_manifest
from gradscope.runs.places import Place, PlaceLike, as_place, exists, make_folder, remove, sizes, write

_NAMES = ["layer", "parameter", "gate"]
"""Columns that repeat a few names: only these gain from a Parquet dictionary."""


class RunWriter:
    """Writes one run, flush by flush.

    Every file is written whole or not at all. A flush writes `iterations` last: that part names
    the others, and readers take only what is so named. Nothing is ever appended to.

    Args:
        path: The run folder; made if it is not there.
        metadata: Whatever describes the run; must be sayable in JSON.
        overwrite: Replace a run that is there already. Files that are not a run's own are never touched.
        joins: Rank of a process that adds its own parts to the run that another process of the same training has begun
            there; None to begin a run.

    Raises:
        RunError: A run or something else is there already, or the folder cannot be written.
    """

    def __init__(
        self,
        path: PlaceLike,
        metadata: Mapping[str, object],
        *,
        overwrite: bool = False,
        joins: int | None = None,
    ) -> None:
        self.path = as_place(path)
        self.flushes = 0
        self._manifest = Manifest(writer=secrets.token_hex(6), metadata=dict(metadata))
        self._run_file = RUN_FILE if joins is None else rank_file(joins)
        # What JSON cannot say is refused before anything is made or replaced.
        content = manifest_content(self.path, self._manifest)
        with _said_in_words(self.path):
            make_folder(self.path)
            leftovers = _claim(self.path, overwrite=overwrite) if joins is None else []
            # The new run.json disowns the old parts at once; a kill while they are deleted does no harm.
            write(self.path / self._run_file, content)
            for leftover in leftovers:
                remove(leftover)

    @property
    def token(self) -> str:
        """Tells this writer from any other."""
        return self._manifest.writer

    def shares_folder_with(self, token: str) -> bool:
        """Return whether the writer of that token has begun the run in this very folder."""
        try:
            return read_manifest(self.path).writer == token
        except RunError:
            return False

    @property
    def complete(self) -> bool:
        """Whether the run has been closed."""
        return self._manifest.complete

    def write(self, tables: Mapping[str, Mapping[str, ColumnLike]]) -> None:
        """Flush: one part for each table that has rows, `iterations` last as the mark that the flush is whole.

        Args:
            tables: Columns by table; "iterations" must be among them, though it may have no rows.

        Raises:
            RunError: The folder cannot be written any more, or belongs to another writer by now.
            ValueError: A table or column that the layout does not have, or values that do not fit it.
        """
        if "iterations" not in tables or not set(tables) <= set(TABLES):
            raise ValueError(f"a flush has 'iterations' and any of {list(TABLES)}, got {list(tables)}")
        if self.complete:
            raise RunError(f"The run {self.path} is closed: nothing can be added to it.")
        built = {name: arrow_table(name, columns) for name, columns in tables.items()}
        commits = built.pop("iterations")
        with _said_in_words(self.path):
            self._refuse_if_replaced()
            sizes = {name: self._write_part(name, table) for name, table in built.items() if len(table)}
            commits = commits.replace_schema_metadata({COMMITTED: json.dumps(sizes)})
            self._write_part("iterations", commits)
        self.flushes += 1

    def close(self, extra_metadata: Mapping[str, object] | None = None) -> None:
        """Mark the run as complete; a second call does nothing.

        Args:
            extra_metadata: What became known only at the end; added to the metadata.

        Raises:
            RunError: The folder cannot be written any more, or belongs to another writer by now.
        """
        if self.complete:
            return
        with _said_in_words(self.path):
            self._refuse_if_replaced()
            closed = self._manifest.closed(self.flushes, extra_metadata or {})
            write(self.path / self._run_file, manifest_content(self.path, closed))
        self._manifest = closed

    def _write_part(self, table: str, content: Any) -> int:  # noqa: ANN401 - pyarrow ships no types
        # Returns the size in bytes, by which a reader knows a truncated part at once.
        name = Part(table, self._manifest.writer, self.flushes).name
        repeating = [name for name in _NAMES if name in content.column_names]
        buffer = pa.BufferOutputStream()
        pq.write_table(content, buffer, use_dictionary=repeating, compression="lz4")
        part = buffer.getvalue()
        write(self.path / name, part)
        return int(part.size)

    def _refuse_if_replaced(self) -> None:
        # What another process wrote goes when a new run begins there; run.json is then the new run's.
        gone = self._run_file != RUN_FILE and not exists(self.path / self._run_file)
        if gone or read_manifest(self.path, self._run_file).writer != self._manifest.writer:
            raise RunError(
                f"Another process has begun a new run in {self.path}: this one stops writing there. "
                "Give each process a folder of its own."
            )


def _claim(folder: Place, *, overwrite: bool) -> list[Place]:
    # Refuses a folder where no new run may begin; returns the files of the run that is replaced.
    found = sizes(folder)
    # A process killed in its very first write leaves a lone temporary run.json: nobody's run, and no reason to refuse.
    if all(is_ours(name) and name.startswith(".") for name in found):
        return [folder / name for name in found if name != temporary_name(RUN_FILE)]
    if RUN_FILE not in found:
        raise RunError(
            f"{folder} is not empty and is not a run, so nothing is written there. Give a new or an empty folder."
        )
    try:
        read_manifest(folder)
    except RunError as error:
        raise RunError(f"{error} Nothing was overwritten: delete the folder yourself, or give another.") from error
    if not overwrite:
        raise RunError(
            f"There is a run at {folder} already. Give another folder, or overwrite=True to replace that run."
        )
    leftovers = [name for name in found if is_ours(name) and name != RUN_FILE]
    return [folder / name for name in sorted(leftovers, key=lambda name: not is_run_file(name))]


@contextmanager
def _said_in_words(folder: Place) -> Iterator[None]:
    """Turn whatever the operating system refuses into one message with the folder and the reason.

    Yields:
        Nothing.

    Raises:
        RunError: In place of any OSError.
    """
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error)
        raise RunError(f"Cannot write the run {folder}: {reason}. Give a folder that you may write to.") from error

"""The run folder on disk: layout, writer, reader. No torch."""

from gradscope.runs.columns import ColumnLike
from gradscope.runs.reader import Run, open_run
from gradscope.runs.writer import RunWriter

__all__ = ["ColumnLike", "Run", "RunWriter", "open_run"]

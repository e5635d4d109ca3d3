"""Where recordings go: pending rows, flushed now and then into the run folder."""

import time
from collections.abc import Mapping, Sequence

from torch import Tensor

from gradscope.instrument.nonfinite import NonfiniteRow, seems_finite
from gradscope.instrument.recording.newest import NumberedPass
from gradscope.instrument.recording.pass_rows import PassRecord
from gradscope.instrument.recording.pending import IterationRecord, Pending
from gradscope.instrument.recording.state_budget import StateBudget
from gradscope.runs import RunWriter

FEW_SEQUENCES = 4
_FLUSH_SECONDS = 2.0
_FLUSH_BYTES = 8 * 2**20
_FLUSH_ITERATIONS = 10_000


class Sink:
    """Collects rows and writes them.

    A flush comes after the first recorded iteration, so that even a short-lived process leaves something, then every
    two seconds or 8 MB of states.

    Args:
        writer: the run folder, or None to keep nothing.
        sequences: how many sequences are kept unit by unit; None for all.
    """

    def __init__(self, writer: RunWriter | None, sequences: int | None) -> None:
        self._writer = writer
        self._sequences = sequences
        self._budget = StateBudget()
        self._pending = Pending()
        self._pending_bytes = 0
        self._recorded = 0
        self._next_flush = 0.0
        self._alarmed = False

    def add_nonfinite(self, rows: Sequence[NonfiniteRow], *, at_once: bool) -> None:
        """Add values that are not finite.

        Args:
            rows: of the table.
            at_once: whether to write all that is there, be the iteration at its end or not.

        Raises:
            RunError: the folder cannot be written.
        """
        if self._writer is None:
            return
        self._pending.add_nonfinite(rows)
        if at_once:
            self.flush(unfinished=True)

    def add_pass(self, numbered: NumberedPass) -> None:
        """Add one pass through one layer.

        Raises:
            RunError: the folder cannot be written.
        """
        if self._writer is None:
            return
        made, scale = numbered.made, numbered.scale
        if self._affordable(made.hidden, numbered.iteration):
            hidden, gradient = (states[:, : self._sequences] for states in (made.hidden, made.total_gradient))
            self._pending.states.add(made.layer, numbered.iteration, numbered.call, hidden, gradient, scale)
        summary = made.summary if scale is None else made.summary.unscaled(scale)
        record = PassRecord(made.layer, numbered.iteration, numbered.call, summary)
        self._pending.add_pass(record)
        if not self._alarmed and not seems_finite(record):
            self._alarmed = True
            self.flush(unfinished=True)

    def _affordable(self, states: Tensor, iteration: int) -> bool:
        if self._sequences == 0:
            return False
        time_, batch, hidden = states.shape
        size = 2 * time_ * min(batch, self._sequences or batch) * hidden * states.element_size()
        if not self._budget.allows(size, iteration):
            return False
        self._pending_bytes += size
        return True

    def add_iteration(self, record: IterationRecord, *, recorded: bool) -> None:
        """Add one iteration, and flush if much is pending."""
        if self._writer is None:
            return
        self._pending.add_iteration(record)
        self._recorded += recorded
        if self._pending_bytes >= _FLUSH_BYTES or len(self._pending) >= _FLUSH_ITERATIONS:
            self.flush()

    def flush_if_due(self) -> None:
        """Write what is pending if the last flush is long enough ago.

        Raises:
            RunError: the folder cannot be written.
        """
        if len(self._pending) and time.monotonic() >= self._next_flush:
            self.flush()

    def flush(self, *, unfinished: bool = False) -> None:
        """Write what is pending.

        Args:
            unfinished: even if no iteration has ended since the last time.

        Raises:
            RunError: the folder cannot be written.
        """
        if self._writer is not None and (unfinished or len(self._pending)):
            self._writer.write(self._pending.tables())
            self._pending.states.clear()
        self._pending_bytes = 0
        self._next_flush = time.monotonic() + _FLUSH_SECONDS

    def close(self, metadata: Mapping[str, object], *, complete: bool) -> None:
        """Write what is left and, unless training broke off, mark the run as complete.

        Raises:
            RunError: the folder cannot be written.
        """
        if self._writer is None:
            return
        self.flush()
        if complete:
            self._writer.close({**metadata, "recorded": self._recorded, "dropped": self._dropped()})

    def _dropped(self) -> dict[str, str]:
        states = self._budget.dropped()
        return {} if states is None else {"states": states}

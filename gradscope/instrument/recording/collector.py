"""What becomes of finished passes and iterations. Everything here runs as a job of the `Worker`, in order."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from gradscope.instrument.nonfinite import NonfiniteRow
from gradscope.instrument.parameters import ParameterChanges
from gradscope.instrument.recording.newest import NewestPasses
from gradscope.instrument.recording.pending import IterationRecord
from gradscope.instrument.recording.sink import Sink
from gradscope.instrument.source import Work


@dataclass(frozen=True, eq=False)
class EndedIteration:
    """An iteration that has a row.

    Attributes:
        iteration: optimiser step.
        scalars: what the user logged, and what gradscope adds.
        recorded: whether hooks were on the model.
        changes: what happened to the parameters, if they had gradients and it was recorded.
    """

    iteration: int
    scalars: Mapping[str, float | Tensor]
    recorded: bool
    changes: ParameterChanges | None


class Collector:
    """Numbers passes, keeps the newest of each layer, and hands rows to the sink.

    Args:
        sink: where rows go.

    Attributes:
        newest: pass of each layer.
        worked_out: how many recorded iterations have come here with all their passes.
    """

    def __init__(self, sink: Sink) -> None:
        self.newest = NewestPasses()
        self.worked_out = 0
        self._sink = sink

    def add_pass(self, work: Work, iteration: int, scale: Tensor | None) -> None:
        """Work a pass out, and take it."""
        made = work()
        # A model may be spread over several devices; the scale is on one of them.
        scale = None if scale is None else scale.to(made.hidden.device)
        self._sink.add_pass(self.newest.add(made, iteration, scale))

    def add_nonfinite(self, rows: Sequence[NonfiniteRow], *, at_once: bool) -> None:
        """Take values that are not finite.

        Raises:
            RunError: the folder cannot be written.
        """
        self._sink.add_nonfinite(rows, at_once=at_once)

    def add_iterations(self, ended: Sequence[EndedIteration]) -> None:
        """Take iterations, after their passes.

        Raises:
            RunError: the folder cannot be written.
        """
        for one in ended:
            rows = None if one.changes is None else one.changes.measured()
            self._sink.add_iteration(IterationRecord(one.iteration, one.scalars, rows), recorded=one.recorded)
            self.worked_out += one.recorded
        self._sink.flush_if_due()

    def flush(self) -> None:
        """Write what is pending.

        Raises:
            RunError: the folder cannot be written.
        """
        self._sink.flush()

    def close(self, metadata: Mapping[str, object], *, complete: bool) -> None:
        """Write what is left and, unless training broke off, mark the run as complete.

        Raises:
            RunError: the folder cannot be written.
        """
        self._sink.close(metadata, complete=complete)

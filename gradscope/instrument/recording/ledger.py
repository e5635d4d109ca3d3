"""What iterations leave behind: passes, values that are not finite, rows; on their way to the end of the run."""

import sys
import time
from collections.abc import Mapping, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.optim import Optimizer

from gradscope.errors import UsageError
from gradscope.instrument.guard import Guard, say
from gradscope.instrument.nonfinite import NonfiniteRow
from gradscope.instrument.parameters import ParameterChanges
from gradscope.instrument.recording.collector import Collector, EndedIteration
from gradscope.instrument.recording.worker import Worker
from gradscope.instrument.scalars import checked_scalar
from gradscope.instrument.source import Work

_LONGEST_UNTOLD_SECONDS = 1.0
_MOST_UNTOLD = 1_000
_TOO_EARLY = (
    "gradscope records no gradients of this training: an optimizer steps inside the backward pass, as from "
    "register_post_accumulate_grad_hook, and changes weights before all gradients are there. Where they are to be "
    "recorded, call step() after backward()."
)


class Ledger:
    """Hands what was recorded to the collector by way of the worker; rows of iterations wait, and go now and then.

    It outlives a recorder that is dropped, so it refers to nothing of the training.

    Args:
        worker: takes the jobs.
        collector: is told.

    Attributes:
        scalars: of the iteration that has not ended yet.
    """

    def __init__(self, worker: Worker, collector: Collector) -> None:
        self.scalars: dict[str, float | Tensor] = {}
        self._worker = worker
        self._collector = collector
        self._untold: list[EndedIteration] = []
        self._told_at = 0.0
        self._said_too_early = False
        self._earlier_error = _last_error()

    def add_pass(self, work: Work, iteration: int, scale: Tensor | None, *, size: int | None) -> None:
        """Have a pass worked out and taken.

        Args:
            work: what is to be worked out.
            iteration: optimiser step.
            scale: of the loss, which its gradients are divided by.
            size: how many bytes are held until then; None if it is not worth the worker's thread.
        """
        self._worker.hand_in(partial(self._collector.add_pass, work, iteration, scale), size=size)

    def add_nonfinite(self, rows: list[NonfiniteRow], new: bool) -> None:
        """Take values that are not finite, and see that those of a new quantity are on disk before training goes on."""
        self._worker.hand_in(partial(self._collector.add_nonfinite, rows, at_once=new))
        if new:  # The training may end by this value: what is known of it is on disk before it goes on.
            self._worker.wait()

    def end_iteration(
        self,
        iteration: int,
        started: float,
        optimizers: Sequence[Optimizer],
        changes: ParameterChanges | None,
        *,
        recorded: bool,
    ) -> None:
        """Note an iteration, and tell of it if it was recorded, or if others have waited for long.

        Args:
            iteration: optimiser step.
            started: when, by `time.perf_counter`.
            optimizers: the first one's learning rate is noted.
            changes: what happened to the parameters.
            recorded: whether hooks were on the model.
        """
        now = time.perf_counter()
        if recorded and changes is None and not self._said_too_early and torch._C._current_graph_task_id() >= 0:
            self._said_too_early = True
            say(_TOO_EARLY)
        self._note(iteration, now - started, optimizers, changes, recorded=recorded)
        late = now - self._told_at > _LONGEST_UNTOLD_SECONDS or len(self._untold) > _MOST_UNTOLD
        if self._untold and (recorded or late):
            self._tell(now)

    def close(
        self,
        iteration: int,
        started: float,
        optimizers: Sequence[Optimizer],
        metadata: Mapping[str, object],
        *,
        recorded: bool,
        complete: bool,
    ) -> None:
        """Write all that is left, with the iteration that has not ended if numbers of it were logged.

        Args:
            iteration: the one that has not ended.
            started: when, by `time.perf_counter`.
            optimizers: the first one's learning rate is noted.
            metadata: of the run.
            recorded: whether hooks were on the model.
            complete: whether the training came to its end.

        Raises:
            RunError: the folder cannot be written.
        """
        now = time.perf_counter()
        if self.scalars:
            self._note(iteration, now - started, optimizers, None, recorded=recorded)
        self._tell(now)
        self._worker.hand_in(partial(self._collector.close, metadata, complete=complete))
        self._worker.wait()

    def save(self) -> None:
        """Write what came before an error, unless writing is what failed; there will be no other call."""
        if not self._worker.is_of_this_process:
            return
        self._worker.join()
        with Guard(lambda _: None):
            self._collector.add_iterations(self._untold)
            self._collector.flush()
        self._worker.end()

    def close_dropped(self) -> None:
        """Write what is left of a recorder that nobody closed; a process that ends by an error leaves it incomplete."""
        if not self._worker.is_of_this_process:
            return
        with Guard(lambda error: say(f"gradscope could not write the end of a run. {type(error).__name__}: {error}")):
            self._worker.run_here()
            self._worker.hand_in(partial(self._collector.add_iterations, self._untold))
            complete = _last_error() in (None, self._earlier_error)
            self._worker.hand_in(partial(self._collector.close, {}, complete=complete))
            self._worker.wait()

    def _note(
        self,
        iteration: int,
        seconds: float,
        optimizers: Sequence[Optimizer],
        changes: ParameterChanges | None,
        *,
        recorded: bool,
    ) -> None:
        scalars, self.scalars = self.scalars, {}
        if not (recorded or scalars):
            return
        rate = _learning_rate(optimizers)
        if rate is not None:
            scalars.setdefault("learning_rate", rate)
        scalars["seconds"] = seconds
        self._untold.append(EndedIteration(iteration, scalars, recorded, changes))

    def _tell(self, now: float) -> None:
        size = sum(one.changes.nbytes for one in self._untold if one.changes is not None)
        self._worker.hand_in(partial(self._collector.add_iterations, self._untold[:]), size=size)
        self._untold.clear()
        self._told_at = now


def _last_error() -> int | None:
    # Which error was the last that nobody caught, in a notebook perhaps long ago: not held, for it holds its frames.
    error = getattr(sys, "last_value", None)
    return None if error is None else id(error)


def _learning_rate(optimizers: Sequence[Optimizer]) -> float | Tensor | None:
    try:
        return checked_scalar("learning_rate", optimizers[0].param_groups[0].get("lr") if optimizers else None)
    except UsageError:
        return None  # An optimiser may keep there what it likes, such as a function: nobody asked for it to be noted.

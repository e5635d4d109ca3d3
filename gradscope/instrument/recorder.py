"""The recorder: ties hooks, schedule and run folder together, and never lets any of them stop the training."""

import time
import weakref
from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer

from gradscope.errors import UsageError
from gradscope.instrument.attachment import Attachment
from gradscope.instrument.cost import Cost
from gradscope.instrument.devices import computing_device
from gradscope.instrument.guard import Guard, say
from gradscope.instrument.loops.taps import Taps
from gradscope.instrument.nonfinite import NonfiniteAlarm
from gradscope.instrument.parameters import ParameterWatch
from gradscope.instrument.probes import Probes
from gradscope.instrument.recording.collector import Collector
from gradscope.instrument.recording.ledger import Ledger
from gradscope.instrument.recording.sink import Sink
from gradscope.instrument.recording.worker import Worker
from gradscope.instrument.scalars import checked_scalar
from gradscope.instrument.schedules import Schedule
from gradscope.instrument.skipped_steps import SkippedSteps
from gradscope.instrument.source import ForwardCall, Source, Unrecordable
from gradscope.instrument.steps import OutermostStep, hook_steps
from gradscope.instrument.trajectory import Trajectory
from gradscope.probing import ProbeTables
from gradscope.runs.places import Place


class Recorder:
    """Records a model while it trains; made by `watch`, best used as a context manager.

    Hooks are on the model only in iterations that are recorded. An error inside gradscope is said once, as a warning;
    recording then stops and training goes on.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        taps: Taps,
        model: nn.Module,
        optimizers: Sequence[Optimizer],
        schedule: Schedule,
        sink: Sink,
        run: Place | None,
        scaler: GradScaler | None,
        also: frozenset[str],
        probes: Probes,
    ) -> None:
        self._probes, self._taps = probes, taps
        self._device = computing_device(model)
        self._worker, self._collector = Worker(self._device), Collector(sink)
        self._ledger = Ledger(self._worker, self._collector)
        self._optimizers = list(optimizers)
        self._schedule, self._run, self._scaler = schedule, run, scaler
        self._cost = Cost()
        self._alarm = NonfiniteAlarm(self._ledger.add_nonfinite)
        self._guard = Guard(self._give_up)
        self._hooks = Attachment(
            [*sources, taps], model, also, self._guard, self._alarm, self._after_backward, self._worker.begin
        )
        self._stopped, self._iteration = False, 0
        self._step = OutermostStep()
        self._step_handles = hook_steps(self._optimizers, self._before_step, self._after_step)
        self._skips = None if scaler is None else SkippedSteps(scaler, self._after_skipped_step)
        # A recorder that is never closed, but dropped or left to the end of the process, still leaves all it recorded.
        self._finalizer = weakref.finalize(self, self._ledger.close_dropped)
        self._begin_iteration()

    # What users call

    def log(self, **scalars: float | Tensor) -> None:
        """Add numbers to this iteration's row, such as `log(loss=loss)`; tensors are read only when rows are written.

        Raises:
            UsageError: a value is not a single number, or its name is a column that gradscope fills itself.
        """
        checked = {name: checked_scalar(name, value) for name, value in scalars.items()}
        self._ledger.scalars.update(checked)
        if "loss" in checked and not self._stopped:
            with self._guard:
                self._alarm.logged(checked["loss"])

    def tap(self, name: str, tensor: Tensor, time: int | None = None) -> Tensor:
        """Record a tensor as the state of one time, in a recurrence written out in plain tensors.

            for t in range(len(x)):
                h = recorder.tap("decoder", torch.tanh(x[t] @ w_in + h @ w_rec))

        What is recorded is h_t and its total gradient; outside recorded iterations nothing is done. Where a loop runs
        more than once between two updates, say `time=t`: a time that is there already begins a new call.

        Args:
            name: of the recurrence; it becomes the layer's name.
            tensor: h_t, (batch, hidden) or (hidden,).
            time: t, in any order, without gaps; the lowest of a sequence is recorded as time 0. The time after that of
                the newest tap of this name if left out.

        Returns:
            The very same tensor.

        Raises:
            UsageError: an argument is wrong, or a layer has that name already.
        """
        return self._taps.tap(name, tensor, time)

    def end_iteration(self) -> None:
        """End the iteration by hand, where no optimiser was given to `watch`: after the update, before `zero_grad`.

        Raises:
            UsageError: an optimiser was given: its `step` ends the iteration.
        """
        if self._optimizers:
            raise UsageError(
                "optimizer.step() ends the iteration already: call end_iteration() only without an optimizer."
            )
        self._end_iteration()

    def go_on_with(self, *optimizers: Optimizer) -> None:
        """Let the steps of other optimisers end iterations, such as of one that was made anew in mid-training.

        Args:
            optimizers: in place of those before; of several, the step of the last ends an iteration.

        Raises:
            UsageError: none is given.
        """
        if not optimizers:
            raise UsageError("go_on_with expects one optimizer or more: those that step from here on.")
        if self._stopped:
            return
        for handle in self._step_handles:
            handle.remove()
        self._optimizers = list(optimizers)
        self._step_handles = hook_steps(self._optimizers, self._before_step, self._after_step)

    @property
    def latest(self) -> dict[str, Trajectory]:
        """Layer name to the trajectory of its newest recorded backward pass; each is a copy that nothing changes."""
        self.wait()
        return self._collector.newest.trajectories()

    def wait(self) -> None:
        """Return when all that was recorded so far is worked out; on CPU that is done beside the training."""
        with self._guard:
            self._worker.wait()

    @property
    def probes(self) -> dict[int, ProbeTables]:
        """Iteration to what was measured there, of `watch(probe=...)`."""
        return dict(self._probes.tables)

    @property
    def overhead(self) -> float:
        """Time that watching has added so far, as a fraction of what the training takes without it."""
        return self._cost.fraction

    @property
    def run(self) -> Place | None:
        """The run folder, or None if nothing is written."""
        return self._run

    def close(self) -> None:
        """Take all hooks off, write what is left and mark the run as complete. A second call does nothing."""
        self._close(complete=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._close(complete=error is None)

    # What hooks call

    def _begin_iteration(self) -> None:
        # Before the clock starts: a probe is no part of what recording costs. Nor is it recorded.
        if self._probes.wants(self._iteration):
            with self._guard:
                self._hooks.detach()
        self._ledger.scalars.update(self._probes.before(self._iteration))
        self._started, self._guard.seconds, self._recording = time.perf_counter(), 0.0, False
        with self._guard:
            self._alarm.begin_iteration(self._iteration)
            self._recording = self._schedule.wants(self._iteration)
            if self._recording:
                self._hooks.attach()
            else:
                self._hooks.detach()
                self._worker.begin()

    def _after_backward(self, watch: ParameterWatch, reached: list[ForwardCall]) -> None:
        self._worker.begin()
        self._worker.make_room()
        scale = self._scale()
        with torch.no_grad():
            for call in reached:
                self._finish(call, scale)
            watch.copy_gradients(scale)
            self._alarm.parameters(watch.not_finite())
            if not self._optimizers:
                watch.before_update(None, gradients_are_final=False)

    def _finish(self, call: ForwardCall, scale: Tensor | None) -> None:
        try:
            for work in call.finish():
                self._ledger.add_pass(work, self._iteration, scale, size=call.size)
        except Unrecordable as reason:
            self._hooks.skipped(call.name, reason)

    def _scale(self) -> Tensor | None:
        if self._scaler is None or not self._scaler.is_enabled():
            return None
        # Without get_scale(), which waits for the device.
        return self._scaler.scale(torch.ones((), device=self._device))

    def _before_step(self, optimizer: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._stopped:
            return
        with self._guard:
            watch = self._hooks.parameters
            if not self._step.begin() or watch is None:
                return
            closure = args[1] if len(args) > 1 else kwargs.get("closure")  # args[0] is the optimiser itself
            last = optimizer is self._optimizers[-1]
            own = None if last else {id(p) for group in optimizer.param_groups for p in group["params"]}
            with torch.no_grad():
                # Set by GradScaler.step where the optimiser is fused: it then unscales its gradients itself.
                scale = getattr(optimizer, "grad_scale", None)
                watch.before_update(own, gradients_are_final=closure is None, scale=scale)

    def _after_step(self, optimizer: Optimizer, *_: object) -> None:
        if self._stopped:
            return
        is_last = False
        with self._guard:
            is_last = self._step.end() and optimizer is self._optimizers[-1]
        if is_last:
            if self._skips is not None:
                self._skips.stepped = True
            self._end_iteration()

    def _after_skipped_step(self) -> None:
        if self._stopped:
            return
        with self._guard, torch.no_grad():
            if self._hooks.parameters is not None:
                self._hooks.parameters.before_update(None, gradients_are_final=True)
        self._end_iteration()

    def _end_iteration(self) -> None:
        if self._stopped:
            return
        changes = None
        if self._recording:
            with self._guard, torch.no_grad():
                if self._hooks.parameters is not None:
                    changes = self._hooks.parameters.after_update()
                self._hooks.end_iteration()
        with self._guard:
            self._ledger.end_iteration(
                self._iteration, self._started, self._optimizers, changes, recorded=self._recording
            )
        seconds = time.perf_counter() - self._started
        with self._guard:
            beside, worked_out = self._worker.seconds, self._collector.worked_out
            charge = self._cost.add(seconds, self._guard.seconds, beside, worked_out, recorded=self._recording)
            self._schedule.observe(self._iteration, *charge, recorded=self._recording)
        self._iteration += 1
        if not self._stopped:
            self._begin_iteration()

    def _give_up(self, error: Exception) -> None:
        if self._stopped:
            return
        # The optimiser's hooks stay, and do nothing, until `close`: PyTorch may be going through them at this moment.
        self._stopped = True
        self._step = OutermostStep()  # It may hold the frame of a step.
        self._finalizer.detach()
        self._hooks.forget()
        say(
            f"gradscope stopped recording at iteration {self._iteration}; training goes on. "
            f"{type(error).__name__}: {error}"
        )
        self._ledger.save()

    def _close(self, *, complete: bool) -> None:
        for handle in self._step_handles:
            handle.remove()
        self._step_handles = []
        if self._skips is not None:
            self._skips.remove()
        if not self._stopped and self._worker.is_of_this_process:
            with self._guard:
                self._hooks.detach()
                self._ledger.close(
                    self._iteration,
                    self._started,
                    self._optimizers,
                    {"overhead": self.overhead},
                    recorded=self._recording,
                    complete=complete,
                )
            self._finalizer.detach()
            self._worker.end()
        self._stopped = True
        # Who keeps a closed recorder keeps what it recorded, and not the model.
        self._hooks.forget()
        self._probes.forget()
        self._optimizers, self._scaler, self._skips = [], None, None

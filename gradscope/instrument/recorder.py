"""The recorder: ties hooks, schedule and run folder together, and never lets any of them stop the training."""

import atexit
import time
import warnings
import weakref
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.autograd import Variable
from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from gradscope.errors import UsageError
from gradscope.instrument.cost import Cost
from gradscope.instrument.fused import Call, Unrecordable
from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.layers import LayerWatch
from gradscope.instrument.parameters import ParameterRows, ParameterWatch
from gradscope.instrument.pending import IterationRecord
from gradscope.instrument.schedules import Schedule
from gradscope.instrument.sink import Sink
from gradscope.instrument.trajectory import Trajectory


class Recorder:
    """Records a model while it trains; made by `watch`, best used as a context manager.

    Hooks are on the model only in iterations that are recorded. An error inside gradscope is said once, as a warning;
    recording then stops and training goes on.
    """

    def __init__(
        self,
        layers: Sequence[LayerWatch],
        parameters: Mapping[str, nn.Parameter],
        optimizer: Optimizer | None,
        schedule: Schedule,
        sink: Sink,
        run: Path | None,
        scaler: GradScaler | None,
    ) -> None:
        self._layers = {layer.name: layer for layer in layers}
        self._parameters = parameters
        self._optimizer = optimizer
        self._schedule = schedule
        self._sink = sink
        self._run = run
        self._scaler = scaler
        self._cost = Cost()
        self._guard = _Guard(self._give_up)
        self._closed = False
        self._steps_inside = 0
        self._iteration = 0
        self._scalars: dict[str, float | Tensor] = {}
        self._forward_handles: list[RemovableHandle] = []
        self._parameter_watch: ParameterWatch | None = None
        self._waiting: list[tuple[LayerWatch, Call]] = []
        self._expected_end_of: int | None = None
        self._skipped: set[str] = set()
        self._step_handles = [] if optimizer is None else self._hook_optimizer(optimizer)
        # A script that never closes its recorder still leaves all it recorded.
        self._at_exit = partial(_close_if_alive, weakref.ref(self))
        atexit.register(self._at_exit)
        self._begin_iteration()

    def _hook_optimizer(self, optimizer: Optimizer) -> list[RemovableHandle]:
        return [
            optimizer.register_step_pre_hook(InertWhenCopied(self._before_step)),
            optimizer.register_step_post_hook(InertWhenCopied(self._after_step)),
        ]

    # What users call

    def log(self, **scalars: float | Tensor) -> None:
        """Add numbers to this iteration's row, such as `log(loss=loss)`; tensors are read only when rows are written.

        Raises:
            UsageError: a value is not a single number.
        """
        for name, value in scalars.items():
            if isinstance(value, Tensor) and value.numel() == 1:
                self._scalars[name] = value.detach().reshape(()).clone()
            elif isinstance(value, Tensor) or not hasattr(value, "__float__"):
                got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
                raise UsageError(f"log({name}=...) expects a single number, got {got}. Log its mean, or its norm.")
            else:
                self._scalars[name] = float(value)

    def end_iteration(self) -> None:
        """End the iteration by hand, where no optimiser was given to `watch`.

        Raises:
            UsageError: an optimiser was given: its `step` ends the iteration.
        """
        if self._optimizer is not None:
            raise UsageError(
                "optimizer.step() ends the iteration already: call end_iteration() only without an optimizer."
            )
        self._end_iteration()

    @property
    def latest(self) -> dict[str, Trajectory]:
        """Layer name to the trajectory of its newest recorded backward pass; each is a copy that nothing changes."""
        trajectories = {name: layer.trajectory() for name, layer in self._layers.items()}
        return {name: trajectory for name, trajectory in trajectories.items() if trajectory is not None}

    @property
    def overhead(self) -> float:
        """Time that watching has added so far, as a fraction of what the training takes without it."""
        return self._cost.fraction

    @property
    def run(self) -> Path | None:
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
        self._started, self._guard.seconds = time.perf_counter(), 0.0
        self._recording = self._schedule.wants(self._iteration)
        if self._recording:
            with self._guard:
                self._attach()

    def _attach(self) -> None:
        self._waiting, self._expected_end_of = [], None
        self._parameter_watch = ParameterWatch(self._parameters, self._expect_end_of_backward)
        for layer in self._layers.values():
            layer.begin_iteration()
            hook = InertWhenCopied(partial(self._after_forward, layer))
            self._forward_handles.append(layer.module.register_forward_hook(hook, with_kwargs=True))

    def _detach(self) -> None:
        for handle in self._forward_handles:
            handle.remove()
        self._forward_handles = []
        if self._parameter_watch is not None:
            self._parameter_watch.remove_hooks()
        self._parameter_watch = None
        self._waiting = []

    def _after_forward(
        self,
        layer: LayerWatch,
        _: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,  # noqa: ANN401
    ) -> None:
        with self._guard:
            try:
                layer.observe(args, kwargs, output, partial(self._arrived, layer))
            except Unrecordable as reason:
                self._skip(layer, reason)

    def _arrived(self, layer: LayerWatch, call: Call) -> None:
        self._expect_end_of_backward()
        if not any(call is waiting for _, waiting in self._waiting):
            self._waiting.append((layer, call))

    def _expect_end_of_backward(self) -> None:
        # By number and not by a flag: a backward pass that breaks off never runs its callback.
        task = torch._C._current_graph_task_id()
        if task != self._expected_end_of:
            self._waiting, self._expected_end_of = [], task
            Variable._execution_engine.queue_callback(self._after_backward)

    def _after_backward(self) -> None:
        waiting, self._waiting, self._expected_end_of = self._waiting, [], None
        watch = self._parameter_watch
        if self._closed or watch is None:
            return  # The iteration ended, or recording stopped, before this backward pass.
        with self._guard:
            scale = self._scale()
            for layer, call in sorted(waiting, key=lambda pair: pair[1].order):
                self._finish(layer, call, scale)
            watch.copy_gradients(scale)
            if self._optimizer is None:
                watch.before_update(gradients_are_final=False)

    def _finish(self, layer: LayerWatch, call: Call, scale: Tensor | None) -> None:
        try:
            index, summary, rows = layer.finish(call, self._iteration, scale)
        except Unrecordable as reason:
            self._skip(layer, reason)
        else:
            self._sink.add_pass(layer.name, self._iteration, index, summary, rows, scale)

    def _scale(self) -> Tensor | None:
        if self._scaler is None or not self._scaler.is_enabled():
            return None
        device = next(iter(self._parameters.values())).device
        return self._scaler.scale(torch.ones((), device=device))  # Without .get_scale(), which waits for the device.

    def _before_step(self, _: Optimizer, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self._steps_inside += 1
        if self._steps_inside > 1 or self._parameter_watch is None:
            return
        closure = args[1] if len(args) > 1 else kwargs.get("closure")  # args[0] is the optimiser itself
        with self._guard, torch.no_grad():
            self._parameter_watch.before_update(gradients_are_final=closure is None)

    def _after_step(self, *_: object) -> None:
        # An optimiser that calls super().step() has its hooks called once for each class.
        self._steps_inside = max(0, self._steps_inside - 1)
        if self._steps_inside == 0:
            self._end_iteration()

    def _end_iteration(self) -> None:
        if self._closed:
            return
        rows = None
        with self._guard, torch.no_grad():
            if self._parameter_watch is not None:
                rows = self._parameter_watch.after_update()
            self._detach()
        now = time.perf_counter()
        with self._guard:
            self._write_iteration(rows, now - self._started)
        seconds = time.perf_counter() - self._started
        self._cost.add(seconds, self._guard.seconds, recorded=self._recording)
        self._schedule.observe(self._iteration, seconds, self._guard.seconds, recorded=self._recording)
        self._iteration += 1
        if not self._closed:
            self._begin_iteration()

    def _write_iteration(self, rows: ParameterRows | None, seconds: float) -> None:
        scalars, self._scalars = self._scalars, {}
        if not (self._recording or scalars):
            return
        if self._optimizer is not None:
            scalars.setdefault("learning_rate", self._optimizer.param_groups[0]["lr"])
        scalars["seconds"] = seconds
        self._sink.add_iteration(IterationRecord(self._iteration, scalars, rows), recorded=self._recording)

    def _skip(self, layer: LayerWatch, reason: Unrecordable) -> None:
        message = f"gradscope did not record a pass through {layer.name}: {reason}."
        if message not in self._skipped:
            self._skipped.add(message)
            warnings.warn(message, stacklevel=2)

    def _give_up(self, error: Exception) -> None:
        self._release()
        warnings.warn(
            f"gradscope stopped recording at iteration {self._iteration}; training goes on. "
            f"{type(error).__name__}: {error}",
            stacklevel=3,
        )

    def _release(self) -> None:
        self._closed = True
        self._detach()
        for handle in self._step_handles:
            handle.remove()
        self._step_handles = []
        atexit.unregister(self._at_exit)

    def _close(self, *, complete: bool) -> None:
        if self._closed:
            return
        self._release()
        with self._guard:
            if self._scalars:
                self._write_iteration(None, time.perf_counter() - self._started)
            self._sink.close({"overhead": self.overhead}, complete=complete)


class _Guard:
    """Counts the time spent inside it, and hands over any error of gradscope's own instead of raising it."""

    def __init__(self, give_up: Any) -> None:  # noqa: ANN401
        self._give_up = give_up
        self._entered = 0.0
        self.seconds = 0.0

    def __enter__(self) -> None:
        self._entered = time.perf_counter()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self.seconds += time.perf_counter() - self._entered
        if not isinstance(error, Exception):
            return False  # Ctrl-C and the like are the user's.
        self._give_up(error)
        return True


def _close_if_alive(reference: "weakref.ref[Recorder]") -> None:
    recorder = reference()
    if recorder is not None:
        recorder.close()

"""The hooks of one recorder on a model: put on for iterations that are recorded, off before one that is not."""

import weakref
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial

import torch
from torch import Tensor, nn
from torch.autograd import Variable

from gradscope.instrument.guard import Guard, say
from gradscope.instrument.nonfinite import NonfiniteAlarm
from gradscope.instrument.parameters import ParameterWatch
from gradscope.instrument.replaced import ReplacedParameters
from gradscope.instrument.source import ForwardCall, Source, Unrecordable

_MOST_BACKWARDS = 2_000
"""In one iteration: rows are written when it ends, and if it never does they would fill the memory."""


class Attachment:
    """What sources tell of an iteration comes together here: see `Listener`.

    Args:
        sources: that are watched.
        model: whose parameters are watched.
        also: what else is recorded of the parameters.
        guard: around everything that a hook does.
        alarm: looks at states.
        backward_ended: called with the calls that a backward pass reached, in the order of the forward passes.
        forward_computes: called when a forward pass, be it an evaluation's, computes.

    Attributes:
        guard: the same.
        parameters: in an iteration that is recorded; None between.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        model: nn.Module,
        also: frozenset[str],
        guard: Guard,
        alarm: NonfiniteAlarm,
        backward_ended: Callable[[ParameterWatch, list[ForwardCall]], None],
        forward_computes: Callable[[], None],
    ) -> None:
        self.guard = guard
        self.parameters: ParameterWatch | None = None
        self._hooked: ParameterWatch | None = None
        self._sources, self._named, self._also = sources, dict(model.named_parameters()), also
        self._replaced = ReplacedParameters(model, self._named)
        self._alarm, self._backward_ended = alarm, backward_ended
        self._forward_computes = forward_computes
        self._calls: weakref.WeakSet[ForwardCall] = weakref.WeakSet()
        self._waiting: defaultdict[int, list[ForwardCall]] = defaultdict(list)
        self._skipped: set[str] = set()
        self._backwards = 0

    def attach(self) -> None:
        """Put all hooks on, or go on with those of the iteration before."""
        if self._hooked is not None and self._hooked.begin():
            for source in self._sources:
                source.renew(self)
        else:
            self.detach()
            self._hooked = ParameterWatch(self._named, self._gradient_arrived, self._also)
            for source in self._sources:
                source.attach(self)
        self.parameters = self._hooked

    def end_iteration(self) -> None:
        """Let go of the iteration's calls; hooks stay until `detach`.

        Raises:
            Exception: what went wrong with one of them, after the others.
        """
        watch, self.parameters, self._backwards = self.parameters, None, 0
        calls = [*self._calls]
        self._calls.clear()
        self._waiting.clear()
        _do_all([call.drop for call in calls])
        if watch is not None:
            self._replaced.look(watch.without_gradient())

    def detach(self) -> None:
        """Take all hooks off, and let go of the iteration's calls.

        Raises:
            Exception: what went wrong with one of them, after the others.
        """
        hooked, self._hooked = self._hooked, None
        if hooked is not None:
            _do_all([hooked.remove_hooks, *(source.detach for source in self._sources), self.end_iteration])

    def forget(self) -> None:
        """Hold nothing of the model any more."""
        with suppress(Exception):
            self.detach()
        self._sources, self._named = (), {}
        self._replaced.forget()

    def computing(self) -> None:
        """Let what came of the iteration before be worked out meanwhile."""
        self._forward_computes()

    def called(self, call: ForwardCall) -> None:
        """Take note of a forward call, so that it is dropped when the iteration ends."""
        self._calls.add(call)

    def computed(
        self,
        call: ForwardCall,
        layer: str,
        states: Tensor,
        quantity: str,
        *,
        first: int = 0,
        reverse: bool = False,
        proof: Tensor | None = None,
    ) -> None:
        """Look at states that a forward call has just computed."""
        self._alarm.computed(call.order, layer, states, quantity, first, reverse=reverse, proof=proof)

    def arrived(self, call: ForwardCall) -> None:
        """Take note that a backward pass has reached `call`."""
        waiting = self._expect_end_of_backward()
        if not any(call is other for other in waiting):
            waiting.append(call)

    def skipped(self, layer: str, reason: Unrecordable) -> None:
        """Say, once, that something was not recorded."""
        message = f"gradscope did not record a pass through {layer}: {reason}."
        if message not in self._skipped:
            self._skipped.add(message)
            say(message)

    def _gradient_arrived(self) -> None:
        if torch._C._current_graph_task_id() in self._waiting:
            return  # In short: it is called for every parameter.
        with self.guard:
            self._expect_end_of_backward()

    def _expect_end_of_backward(self) -> list[ForwardCall]:
        # By the number of the backward pass, not by a flag: one that breaks off never runs its callback, and one may
        # run inside another.
        task = torch._C._current_graph_task_id()
        if task not in self._waiting:
            self._at_the_very_end(partial(self._after_backward, task))
        return self._waiting[task]

    @staticmethod
    def _at_the_very_end(of_backward: Callable[[], None]) -> None:
        # DistributedDataParallel queues a callback of its own, late, to put averaged gradients in place: what is queued
        # by a callback comes after that.
        queue = Variable._execution_engine.queue_callback
        queue(lambda: queue(of_backward))

    def _after_backward(self, task: int) -> None:
        waiting, watch = self._waiting.pop(task, []), self.parameters
        if watch is None:
            return  # The iteration ended, or recording stopped, before this backward pass.
        with self.guard:
            self._backwards += 1
            if self._backwards > _MOST_BACKWARDS:
                raise RuntimeError(
                    f"{_MOST_BACKWARDS} backward passes went through the model and no iteration ended: give watch the "
                    "optimizer whose step() ends it, or call recorder.end_iteration()"
                )
            self._backward_ended(watch, sorted(waiting, key=lambda call: call.order))


def _do_all(steps: Sequence[Callable[[], None]]) -> None:
    errors = []
    for step in steps:
        try:
            step()
        except Exception as error:  # noqa: BLE001 - the others are taken all the same
            errors.append(error)
    if errors:
        raise errors[0]

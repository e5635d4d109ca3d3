"""Noticing what a script trains, from its first training iteration on.

PyTorch tells of every module that is called, and that costs each call a microsecond. So it is asked to only while there
is an optimiser of which it is not known yet what it trains: usually until the first forward pass of the training.
"""

import functools
import os
import sys
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import torch
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from gradscope.errors import GradscopeError
from gradscope.instrument.guard import Guard, say
from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.layers import find_sources
from gradscope.instrument.recorder import Recorder
from gradscope.instrument.steps import OutermostStep
from gradscope.instrument.transformed import is_captured, is_under_torch_func
from gradscope.instrument.unchanged.losses import LossOfModel, listen_to_backward
from gradscope.instrument.unchanged.together import Together, parameters_of, trained_together
from gradscope.instrument.unchanged.turns import Turns

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

Begin = Callable[[Together], Recorder]
_MOST_OPEN = 16
"""Of recorders: each keeps its model and its optimisers alive, and a search may go through hundreds of them."""


class Watched(NamedTuple):
    """A model that is watched."""

    recorder: Recorder
    turns: Turns
    loss: LossOfModel


class Noticing:
    """Watches each recurrent model of a script when it is first called with gradients and an optimiser updates it.

    Args:
        begin: calls `watch`.

    Attributes:
        recorders: of all models that were watched, in order.
        names: of those models, for messages.
        not_watched: why others were not, in words.
        optimizers_made: how many.
    """

    def __init__(self, begin: Begin) -> None:
        self.recorders: list[Recorder] = []
        self.names: list[str] = []
        self.not_watched: list[str] = []
        self.optimizers_made = 0
        self._begin = begin
        self._open: list[Watched] = []
        self._losses: list[LossOfModel] = []
        self._optimizers: list[weakref.ref[Optimizer]] = []
        self._unknown: list[weakref.ref[Optimizer]] = []
        self._looked_at: dict[int, weakref.ref[nn.Module]] = {}
        self._forward: RemovableHandle | None = None
        self._steps: list[RemovableHandle] = []
        self._step = OutermostStep()
        self._guard = Guard(self._give_up)
        self._failed, self._process = False, os.getpid()
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        # Of a model that torch.compile was given; the hook is ours, and one call more does it no harm.
        warnings.filterwarnings("ignore", "Using `torch.compile.module.` when there are global hooks", UserWarning)
        self._undo.callback(_listen_to_new_optimizers(self._made))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._undo.close()
        self._listen(forward=False, steps=False)
        for each in self._open:
            each.recorder.__exit__(kind, error, traceback)
        self._open.clear()
        self._losses.clear()

    def _made(self, optimizer: Optimizer) -> None:
        with self._guard:
            self.optimizers_made += 1
            self._optimizers = [each for each in self._optimizers if each() is not None]
            self._optimizers.append(weakref.ref(optimizer))
            if not [each for each in self._open if each.turns.concern(optimizer)]:
                self._unknown.append(weakref.ref(optimizer))
                self._looked_at.clear()
                self._look_at_compiled(optimizer)
            self._listen_as_needed()

    def _look_at_compiled(self, optimizer: Optimizer) -> None:
        # What `model.compile()` makes of a forward pass tells of no call, and has the hooks in it that it began with.
        if "torch._dynamo" not in sys.modules:
            return
        together = trained_together(parameters_of(optimizer), _those_of(self._optimizers), None)
        if together is not None and any(each._compiled_call_impl is not None for each in together.model.modules()):
            self._look(together)

    def _called(self, module: nn.Module, args: tuple[Any, ...]) -> None:
        known = self._looked_at.get(id(module))
        if (known is not None and known() is module) or self._is_no_training():
            return
        with self._guard:
            self._looked_at[id(module)] = weakref.ref(module)
            parameters = set(map(id, module.parameters()))
            self._unknown = [each for each in self._unknown if each() is not None]
            if any(parameters & parameters_of(optimizer) for optimizer in _those_of(self._unknown)):
                with _hooks_called_that_come_too_late(module, args):
                    self._look(trained_together(parameters, _those_of(self._optimizers), module))
            self._listen_as_needed()

    def _is_no_training(self) -> bool:
        return self._failed or os.getpid() != self._process or is_captured() or is_under_torch_func()

    def _before_step(self, optimizer: Optimizer, *_: object) -> None:
        with self._guard:
            if self._step.begin() and not self._is_no_training():
                for each in self._open:
                    each.turns.before_step(optimizer)

    def _after_step(self, optimizer: Optimizer, *_: object) -> None:
        with self._guard:
            if not self._step.end() or self._is_no_training():
                return
            if any(optimizer is each for each in _those_of(self._unknown)):
                # The model computes without being called, as a compiled function does: what is left are the iterations
                # after this one.
                self._look(trained_together(parameters_of(optimizer), _those_of(self._optimizers), None))
                self._known([optimizer])
                self._looked_at.clear()  # PyTorch goes through the hooks of steps: the next call takes them off.

    def _look(self, together: Together | None) -> None:
        if together is None or together.has_no_shape_yet:
            self._looked_at.clear()
            return
        self._known(together.optimizers)
        if together.is_watched:
            self.not_watched.append(f"{together.name} is left to the script, which watches it by itself")
        elif find_sources(together.model):
            self._watch(together)

    def _watch(self, together: Together) -> None:
        try:
            recorder = self._begin(together)
        except GradscopeError as reason:
            self.not_watched.append(f"{together.name} was not watched: {reason}")
            say(f"gradscope does not watch {together.name}; training goes on. {reason}")
            return
        if not self.recorders:
            self._undo.callback(listen_to_backward(self._losses, self._guard))
        self.recorders.append(recorder)
        self.names.append(together.name)
        parameters = set(map(id, together.model.parameters()))
        loss = LossOfModel(together.model, recorder, together.scaler)
        self._open.append(Watched(recorder, Turns(recorder, parameters, together.optimizers), loss))
        self._losses.append(loss)
        if len(self._open) > _MOST_OPEN:
            self._open.pop(0).recorder.close()
            self._losses.pop(0)

    def _known(self, optimizers: list[Optimizer]) -> None:
        self._unknown = [each for each in self._unknown if not any(each() is one for one in optimizers)]

    def _listen_as_needed(self) -> None:
        unknown = any(each() is not None for each in self._unknown)
        self._listen(forward=unknown, steps=unknown or any(each.turns.are_needed for each in self._open))

    def _listen(self, *, forward: bool, steps: bool) -> None:
        if forward and self._forward is None:
            self._forward = register_module_forward_pre_hook(_outside_of_compiled(self._called))
        elif not forward and self._forward is not None:
            self._forward.remove()
            self._forward = None
        if steps and not self._steps:
            self._steps = [
                register_optimizer_step_pre_hook(InertWhenCopied(self._before_step, in_forward=False)),
                register_optimizer_step_post_hook(InertWhenCopied(self._after_step, in_forward=False)),
            ]
        elif not steps:
            while self._steps:
                self._steps.pop().remove()

    def _give_up(self, error: Exception) -> None:
        self._undo.close()
        self._failed = True  # PyTorch may be going through the hooks of steps: they stay, and do nothing.
        self._listen(forward=False, steps=bool(self._steps))
        self.not_watched.append(f"noticing what is trained failed: {type(error).__name__}: {error}")
        say(f"gradscope notices no further models; training goes on. {type(error).__name__}: {error}")


def _those_of(references: list[weakref.ref[Optimizer]]) -> list[Optimizer]:
    return [each for reference in references if (each := reference()) is not None]


def _listen_to_new_optimizers(made: Callable[[Optimizer], None]) -> Callable[[], None]:
    """Be told of every optimiser that is made; PyTorch has no hook for that.

    Args:
        made: called with it.

    Returns:
        What ends it.
    """
    original = Optimizer.__init__

    @functools.wraps(original)
    def init(self: Optimizer, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as of PyTorch
        original(self, *args, **kwargs)
        made(self)

    def end() -> None:
        Optimizer.__init__ = original  # type: ignore[method-assign]

    Optimizer.__init__ = init  # type: ignore[method-assign]
    return end


def _outside_of_compiled(called: Callable[[nn.Module, tuple[Any, ...]], None]) -> Callable[..., None]:
    """Return a hook that torch.compile traces to nothing; marked as not to be traced, it would break the graph."""

    def before_forward(module: nn.Module, args: tuple[Any, ...]) -> None:
        if not torch.compiler.is_compiling() and torch.is_grad_enabled():
            called(module, args)

    return before_forward


@contextmanager
def _hooks_called_that_come_too_late(module: nn.Module, args: tuple[Any, ...]) -> Iterator[None]:
    """Call the hooks that are put meanwhile on a module that is being called: PyTorch has listed its own by now.

    Args:
        module: that is being called.
        args: that it was given. PyTorch tells none that were given by name: such a call is recorded from the next time.

    Yields:
        Nothing.
    """
    before = set(module._forward_pre_hooks)
    yield
    if not args:
        return
    for number, hook in list(module._forward_pre_hooks.items()):
        if number not in before:
            hook(module, args, {}) if number in module._forward_pre_hooks_with_kwargs else hook(module, args)

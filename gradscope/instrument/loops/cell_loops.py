"""Watching loops over cells: nn.RNNCell, nn.GRUCell, nn.LSTMCell, and cells taught by `register_cell`.

The calls that hand a state on are one sequence (`growth`), and one `call` in the tables. Its direct gradient is
with respect to the state alone: what comes back through a later input (teacher forcing with the model's own output,
attention over past outputs) enters directly.

With truncated backpropagation a sequence goes over a `detach`: where gradients are cut shows in them. A backward pass
that frees its graph ends the sequences that it went through, so that a window with a backward pass of its own is a call
of its own; under `retain_graph=True` the sequence goes on, and each backward pass reports all of its times.
"""

import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from gradscope.cells.step_functions import StepFunction, step_function_of
from gradscope.errors import UsageError
from gradscope.instrument.inert import InertWhenCopied
from gradscope.instrument.loops.growth import GrowingSequences
from gradscope.instrument.loops.replay import replaying
from gradscope.instrument.loops.stock import STOCK, StockCell, is_stock
from gradscope.instrument.loops.taught import TaughtCell
from gradscope.instrument.loops.unrolled import HIDDEN
from gradscope.instrument.source import Listener, Unrecordable
from gradscope.instrument.transformed import UNDER_TORCH_FUNC, is_captured, is_under_torch_func

if TYPE_CHECKING:
    from torch.utils.hooks import RemovableHandle

_FORM = "what works is a Tensor (batch, hidden) or a tuple of Tensors, taken and returned in the same form"


class CellLoopSource:
    """One cell, and the sequences that loops over it make.

    Args:
        path: of the module in the model; empty for the model itself.
        module: the cell.
        step: its step function, for a cell that is none of PyTorch's.

    Attributes:
        path: of the module in the model.
    """

    def __init__(self, path: str, module: nn.Module, step: StepFunction | None = None) -> None:
        self.path, self._module = path, module
        name = path or type(module).__name__
        self._cell = StockCell(name, module) if is_stock(module) else TaughtCell(name, module, step)
        self._names = _argument_names(module)
        self._sequences = GrowingSequences(self._cell)
        self._handle: RemovableHandle | None = None
        self._listener: Listener | None = None

    def describe(self) -> Mapping[str, Mapping[str, object]]:
        """Return what a reader of the run needs to know of the cell."""
        return {self._cell.name: self._cell.describe()}

    def attach(self, listener: Listener) -> None:
        """Put a hook on the cell."""
        self._listener = listener
        self._cell.attach()
        self._handle = self._module.register_forward_hook(InertWhenCopied(self._after_forward), with_kwargs=True)

    def renew(self, listener: Listener) -> None:
        """Forget the iteration before."""
        self.detach()
        self.attach(listener)

    def detach(self) -> None:
        """Take it off, and forget the sequences."""
        if self._handle is not None:
            self._handle.remove()
        self._handle = self._listener = None
        self._sequences.forget()
        self._cell.detach()

    def _after_forward(
        self,
        _: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        output: Any,  # noqa: ANN401 - what a module returns
    ) -> None:
        listener = self._listener
        if listener is None or not torch.is_grad_enabled() or replaying() or is_captured():
            return
        with listener.guard:
            try:
                if is_under_torch_func():
                    raise Unrecordable(UNDER_TORCH_FUNC)
                self._note(args, kwargs, output, listener)
            except Unrecordable as reason:
                listener.skipped(self._cell.name, reason)

    def _note(self, args: tuple[Any, ...], kwargs: Mapping[str, Any], output: object, listener: Listener) -> None:
        state = _parts(output)
        if not state:
            raise Unrecordable(f"it returned a {type(output).__name__}; {_FORM}")
        if state[HIDDEN].grad_fn is None:
            return
        if state[HIDDEN].numel() == 0:
            raise Unrecordable("its state is empty")
        inputs, given = (_argument(number, name, args, kwargs) for number, name in enumerate(self._names))
        handed = None if given is None else _parts(given)
        if handed is not None and len(handed) != len(state):
            raise Unrecordable(
                f"it took a {type(given).__name__} as state and returned a {type(output).__name__}; {_FORM}"
            )
        self._sequences.add(listener, inputs, handed, state, is_tuple=not isinstance(output, Tensor))


def _parts(state: object) -> tuple[Tensor, ...]:
    """Return the tensors of a state; none if it is of a form that we do not know."""
    if isinstance(state, Tensor):
        return (state,)
    if isinstance(state, tuple | list) and all(isinstance(part, Tensor) for part in state):
        return tuple(state)
    return ()


def _argument_names(module: nn.Module) -> tuple[str, str]:
    """Return how a cell calls its input and its state."""
    try:
        names = [*inspect.signature(module.forward).parameters]
    except (TypeError, ValueError):  # compiled and scripted modules do not tell
        names = []
    first, second, *_ = [*names[:2], "input", "hx"][:2] if len(names) >= 2 else ("input", "hx")
    return first, second


def _argument(number: int, name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401
    return args[number] if len(args) > number else kwargs.get(name)


def find_cell_loops(model: nn.Module) -> list[CellLoopSource]:
    """Return a source for each cell in `model`: PyTorch's, and those of registered classes.

    A cell inside a registered cell is part of it. A subclass of one of PyTorch's cells with a forward of its own that
    is not registered is watched too; its direct gradient stays unknown.
    """
    found: dict[str, CellLoopSource] = {}
    for path, module in model.named_modules():
        if isinstance(module, nn.RNNBase) or any(path.startswith(f"{outer}.") or not outer for outer in found):
            continue
        step = _step_of(module)
        if step is not None or isinstance(module, STOCK):
            found[path] = CellLoopSource(path, module, step)
    return list(found.values())


def _step_of(module: nn.Module) -> StepFunction | None:
    try:
        return step_function_of(module)
    except UsageError:
        return None

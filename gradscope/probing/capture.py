"""What ran in a model on one batch: its recurrences, with their inputs and direct gradients.

The model is left as it was: no gradient is accumulated, no hook stays, buffers and the random number generators are put
back.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gradscope.cells.step_functions import State, known_cells, step_function_of
from gradscope.errors import UsageError
from gradscope.probing.cell_calls import CellRun, parts_of
from gradscope.probing.fused_calls import FusedCall
from gradscope.probing.fused_hooks import FusedHooks
from gradscope.probing.fused_runs import FusedRun
from gradscope.probing.recurrence import Recurrence

_FUSED = (nn.RNN, nn.GRU, nn.LSTM)

_Seen = FusedCall | FusedRun | CellRun


def capture(model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor]) -> list[Recurrence]:  # noqa: ANN401 - the model's
    """Run the model once on a batch.

    Args:
        model: holds recurrent modules.
        inputs: of the model; a tuple is several arguments.
        loss: takes what the model returns and returns one number.

    Returns:
        Its recurrences, in the order in which they began.

    Raises:
        UsageError: nothing recurrent ran, the loss is no differentiable number, or a call's form is not supported.
    """
    if not isinstance(model, nn.Module):
        raise UsageError(f"probe expects an nn.Module first, got {type(model).__name__}.")
    if not callable(loss):
        raise UsageError(_wrong_loss(f"{loss!r}"))
    with ExitStack() as stack:
        stack.enter_context(left_as_it_was(model))
        watching = _Watching(model)
        stack.callback(watching.remove)
        stack.enter_context(without_cudnn())
        with torch.enable_grad():
            value = loss(called(model, inputs))
        _check_loss(value)
        seen = watching.seen()
        if not seen:
            raise UsageError(_nothing_ran(model))
        watched = [tensor for each in seen for tensor in each.watched]
        goes_on = any(not isinstance(each, FusedCall) for each in seen)  # a run asks the graph again
        gradients = torch.autograd.grad(value, watched, retain_graph=goes_on, allow_unused=True)
    return list(_with_gradients(seen, gradients))


def _with_gradients(seen: Sequence[_Seen], gradients: Sequence[Tensor | None]) -> Iterator[Recurrence]:
    runs: dict[str, int] = {}
    for each in seen:
        count = len(each.watched)
        mine, gradients = gradients[:count], gradients[count:]
        if not isinstance(each, CellRun):
            yield from each.recurrences(mine)
        else:
            runs[each.name] = runs.get(each.name, -1) + 1
            yield each.recurrence(runs[each.name], mine)


def _check_loss(value: object) -> None:
    if isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad:
        return
    got = f"a Tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"a {type(value).__name__}"
    raise UsageError(_wrong_loss(got))


def _wrong_loss(got: str) -> str:
    return (
        f"probe expects `loss` to take what the model returns and to return one differentiable number, got {got}: try "
        "loss=lambda output: criterion(output, targets)"
    )


def _nothing_ran(model: nn.Module) -> str:
    return (
        f"nothing recurrent ran in {type(model).__name__}: probe knows nn.RNN, nn.GRU, nn.LSTM and loops over "
        f"{', '.join(known_cells())}. Teach it a cell of your own with gradscope.register_cell."
    )


def called(model: nn.Module, inputs: Any) -> Any:  # noqa: ANN401 - the model's
    """Return what the model makes of its inputs; a tuple is several arguments, a PackedSequence is none."""
    return model(*inputs) if type(inputs) is tuple else model(inputs)


@contextmanager
def left_as_it_was(model: nn.Module) -> Iterator[None]:
    """Put buffers and the random number generators back afterwards."""
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = sorted({p.device.index or 0 for p in model.parameters() if p.device.type == "cuda"})
    with torch.random.fork_rng(devices):
        try:
            yield
        finally:
            with torch.no_grad():
                for name, buffer in model.named_buffers():
                    buffer.copy_(buffers[name])


@contextmanager
def without_cudnn() -> Iterator[None]:
    """Have other kernels run, which can go back in evaluation mode, and twice.

    `torch.backends.cudnn.flags` would read how exact products are, and that is an error to PyTorch after
    `torch.backends.fp32_precision = "ieee"`.
    """
    enabled = torch.backends.cudnn.enabled
    torch.backends.cudnn.enabled = False
    try:
        yield
    finally:
        torch.backends.cudnn.enabled = enabled


def _is_cell(module: nn.Module) -> bool:
    try:
        step_function_of(module)
    except UsageError:
        return False
    return True


class _Watching:
    """Hooks on every recurrent module, for one forward pass."""

    def __init__(self, model: nn.Module) -> None:
        self._seen: list[_Seen] = []
        self._open: dict[nn.Module, CellRun] = {}
        self._hooks: list[Any] = []
        within: tuple[str, ...] = ()
        for name, module in model.named_modules():
            if any(name.startswith(outer) for outer in within):
                continue  # a cell inside a cell is part of its step
            if isinstance(module, _FUSED):
                hooks = FusedHooks(name or type(module).__name__, self._seen.append)
                self._hooks.append(module.register_forward_pre_hook(hooks.before, with_kwargs=True))
                self._hooks.append(module.register_forward_hook(hooks.after, with_kwargs=True))
            elif _is_cell(module):
                within = (*within, f"{name}." if name else "")
                self._hooks.append(module.register_forward_pre_hook(self._before_cell(name), with_kwargs=True))
                self._hooks.append(module.register_forward_hook(self._after_cell))

    def remove(self) -> None:
        for hook in self._hooks:
            hook.remove()

    def seen(self) -> list[_Seen]:
        """Return what ran; single calls of a cell are no recurrence."""
        return [each for each in self._seen if not isinstance(each, CellRun) or len(each.outputs) > 1]

    def _before_cell(self, name: str) -> Callable[..., tuple[tuple[Any, ...], dict[str, Any]]]:
        def hook(
            module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
        ) -> tuple[tuple[Any, ...], dict[str, Any]]:
            x, state = _input_and_state(args, kwargs)
            run = self._open.get(module)
            if run is None or not run.continues(state):
                run = self._open[module] = CellRun(name or type(module).__name__, module, state)
                self._seen.append(run)
            run.inputs.append(x)
            if state is None:
                run.handed.append(())
                run.taps.append(())
                return args, kwargs
            taps = tuple(torch.zeros_like(part, requires_grad=True) for part in parts_of(state))
            run.handed.append(parts_of(state))
            run.taps.append(taps)
            tapped = tuple(part + tap for part, tap in zip(parts_of(state), taps, strict=True))
            return (x, tapped[0] if isinstance(state, Tensor) else tapped), {}

        return hook

    def _after_cell(self, module: nn.Module, args: tuple[Any, ...], output: State) -> State:  # noqa: ARG002 - torch's form
        # Copies: within a step h may be made from the very c that is returned, which is no path through time.
        copies = tuple(part.clone() for part in parts_of(output))
        for copy in copies:
            if not copy.requires_grad:
                copy.requires_grad_()  # frozen weights: the loss depends on the state all the same
        state: State = copies[0] if isinstance(output, Tensor) else copies
        self._open[module].outputs.append(state)
        return state


def _input_and_state(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Tensor, State | None]:
    given = [*args, *kwargs.values()]
    return given[0], given[1] if len(given) > 1 else None

"""What the calls of one nn.RNN, nn.GRU or nn.LSTM are: sequences of their own, or times of one."""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from gradscope.probing.cell_calls import parts_of
from gradscope.probing.fused_calls import FusedCall, fused_call, given_input, given_state
from gradscope.probing.fused_runs import FusedRun


class FusedHooks:
    """Hooks on one module, for one forward pass of the model.

    A call for one time goes on with the run whose newest state it is handed; any other call begins one.

    Args:
        name: module path.
        began: is told of every sequence when it begins.
    """

    def __init__(self, name: str, began: Callable[[FusedCall | FusedRun], None]) -> None:
        self._name, self._began = name, began
        self._count = 0
        self._runs: list[FusedRun] = []
        self._continued: FusedRun | None = None
        self._handed: tuple[Tensor, ...] = ()

    def before(
        self, module: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]] | None:
        """Take note of the run that a call goes on with.

        Returns:
            Arguments in which the state that is handed on is a tensor of its own; None if nothing goes on.
        """
        state = given_state(args, kwargs)
        self._continued, self._handed = None, ()
        if state is None or not _is_one_time(module, args, kwargs):
            return None
        self._continued = self._run_that_stands_in(parts_of(state))
        if self._continued is None:
            return None
        self._handed = tuple(part.view_as(part) for part in parts_of(state))
        handed = self._handed[0] if isinstance(state, Tensor) else self._handed
        if "hx" in kwargs:
            return args, {**kwargs, "hx": handed}
        return (args[0], handed), kwargs

    def after(
        self, module: nn.RNNBase, args: tuple[Any, ...], kwargs: dict[str, Any], output: tuple[Any, Any]
    ) -> tuple[Any, Any] | None:
        """Take note of what a call returned.

        Returns:
            What the loop gets instead; None if that is the output itself.

        Raises:
            UsageError: it is of a form that cannot be run again layer by layer.
        """
        call = fused_call(self._name, module, self._count, args, kwargs, output)
        if not _is_one_time(module, args, kwargs):
            self._begin(call)
            for tensor in call.watched:
                if not tensor.requires_grad:
                    tensor.requires_grad_()  # frozen weights: the loss depends on the output all the same
            return None
        run = self._continued
        if run is None:
            run = FusedRun(self._name, module, self._count)
            self._runs.append(run)
            self._begin(run)
        sequence, *states = run.add(call, self._handed)
        return sequence, states[0] if isinstance(output[1], Tensor) else tuple(states)

    def _begin(self, sequence: FusedCall | FusedRun) -> None:
        self._began(sequence)
        self._count += 1

    def _run_that_stands_in(self, state: tuple[Tensor, ...]) -> FusedRun | None:
        standing = [run for run in self._runs if run.continues(state)]
        return next((run for run in standing if run.stands_in(state)), standing[0] if standing else None)


def _is_one_time(module: nn.RNNBase, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    inputs = given_input(args, kwargs)
    if module.bidirectional or not isinstance(inputs, Tensor):
        return False
    return inputs.shape[1 if module.batch_first and inputs.dim() == 3 else 0] == 1

"""From one call of an nn.RNN, nn.GRU or nn.LSTM to its layers, each with its own inputs and direct gradients."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradscope.cells.step_functions import State
from gradscope.errors import UsageError
from gradscope.probing.gradients import zeros_for_none
from gradscope.probing.layer_runs import run_layers
from gradscope.probing.recurrence import Recurrence


@dataclass(frozen=True)
class FusedCall:
    """A forward call as a hook sees it.

    Attributes:
        name: module path.
        module: the module.
        call: which of its calls, from 0.
        inputs: as (time, batch, input).
        initial: h_0 and for an LSTM c_0 (layers * directions, batch, ...).
        output: as the module returned it, part of the autograd graph.
        finals: h_n and for an LSTM c_n, likewise.
    """

    name: str
    module: nn.RNNBase
    call: int
    inputs: Float[Tensor, "time batch input"]
    initial: tuple[Tensor, ...]
    output: Tensor
    finals: tuple[Tensor, ...]

    @property
    def watched(self) -> list[Tensor]:
        """What the loss may depend on."""
        return [self.output, *self.finals]

    def as_batches(self, handed_out: Sequence[Tensor]) -> list[Tensor]:
        """Return tensors formed as `watched`: (time, batch, size), and each (layers * directions, batch, size)."""
        output, *finals = handed_out
        return [_time_first(self.module, output), *map(_batched, finals)]

    def recurrences(self, gradients: Sequence[Tensor | None]) -> list[Recurrence]:
        """Return the call's layers and directions, given the gradients of `watched`."""
        of_output, *of_finals = self.as_batches(zeros_for_none(self.watched, gradients))
        again = run_layers(self.module, self.inputs, self.initial)
        of_hidden = again.of_hidden(of_output, of_finals)
        return [
            run.recurrence(self.name, self.call, _with_last(of_hidden[index], [part[index] for part in of_finals]))
            for index, run in enumerate(again.layers)
        ]


def fused_call(
    name: str, module: nn.RNNBase, call: int, args: Sequence[Any], kwargs: Mapping[str, Any], output: tuple[Any, Any]
) -> FusedCall:
    """Return the call that a hook saw.

    Raises:
        UsageError: it is of a form that cannot be run again layer by layer.
    """
    inputs = given_input(args, kwargs)
    if isinstance(inputs, PackedSequence):
        raise UsageError(f"{name}: probe needs a padded tensor, and it was given a PackedSequence: pad the batch")
    if module.training and module.dropout and module.num_layers > 1:
        raise UsageError(
            f"{name}: its dropout between layers draws a mask that probe cannot see: call model.eval() before"
        )
    sequence, last = output
    finals = (last,) if isinstance(last, Tensor) else tuple(last)
    initial = given_state(args, kwargs)
    states = tuple(map(torch.zeros_like, finals)) if initial is None else initial
    states = (states,) if isinstance(states, Tensor) else tuple(states)
    return FusedCall(
        name,
        module,
        call,
        _time_first(module, inputs.detach()),
        tuple(_batched(state.detach()) for state in states),
        sequence,
        finals,
    )


def given_input(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Tensor | PackedSequence:
    """Return the sequence that a call is given."""
    given: Tensor | PackedSequence = args[0] if args else kwargs["input"]
    return given


def given_state(args: Sequence[Any], kwargs: Mapping[str, Any]) -> State | None:
    """Return the state that a call is handed."""
    given: State | None = args[1] if len(args) > 1 else kwargs.get("hx")
    return given


def _time_first(module: nn.RNNBase, tensor: Tensor) -> Float[Tensor, "time batch size"]:
    if tensor.dim() == 2:
        return tensor.unsqueeze(1)
    return tensor.transpose(0, 1) if module.batch_first else tensor


def _batched(state: Tensor) -> Tensor:
    return state.unsqueeze(1) if state.dim() == 2 else state


def _with_last(of_hidden: Tensor, of_last: list[Tensor]) -> Float[Tensor, "time batch full_state"]:
    direct = of_hidden.clone()
    direct[-1] += of_last[0]
    if len(of_last) == 1:
        return direct
    of_cell = direct.new_zeros(*direct.shape[:2], of_last[1].shape[-1])
    of_cell[-1] = of_last[1]
    return torch.cat([direct, of_cell], dim=-1)

"""From one call of an nn.RNN, nn.GRU or nn.LSTM to its layers, each with its own inputs and direct gradients.

What a fused module hands out is the top layer's sequence and the last states. The layers are run again here, one time
after the other, so that the gradient that reaches each layer's sequence from above can be asked for.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradscope.cells.step_functions import State, layer_step
from gradscope.errors import UsageError
from gradscope.probing.recurrence import LayerPlace, Recurrence


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

    def recurrences(self, gradients: Sequence[Tensor | None]) -> list[Recurrence]:
        """Return the call's layers and directions, given the gradients of `watched`."""
        of_output, *of_finals = (
            torch.zeros_like(tensor) if gradient is None else gradient
            for tensor, gradient in zip(self.watched, gradients, strict=True)
        )
        finals = [_batched(final) for final in of_finals]
        return _layers(self, _time_first(self.module, of_output), finals)


def fused_call(
    name: str, module: nn.RNNBase, call: int, args: Sequence[Any], kwargs: Mapping[str, Any], output: tuple[Any, Any]
) -> FusedCall:
    """Return the call that a hook saw.

    Raises:
        UsageError: it is of a form that cannot be run again layer by layer.
    """
    inputs = args[0] if args else kwargs["input"]
    if isinstance(inputs, PackedSequence):
        raise UsageError(f"{name}: probe needs a padded tensor, and it was given a PackedSequence: pad the batch")
    if module.training and module.dropout and module.num_layers > 1:
        raise UsageError(
            f"{name}: its dropout between layers draws a mask that probe cannot see: call model.eval() before"
        )
    sequence, last = output
    finals = (last,) if isinstance(last, Tensor) else tuple(last)
    initial = args[1] if len(args) > 1 else kwargs.get("hx")
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


def _time_first(module: nn.RNNBase, tensor: Tensor) -> Float[Tensor, "time batch size"]:
    if tensor.dim() == 2:
        return tensor.unsqueeze(1)
    return tensor.transpose(0, 1) if module.batch_first else tensor


def _batched(state: Tensor) -> Tensor:
    return state.unsqueeze(1) if state.dim() == 2 else state


@dataclass(frozen=True)
class _Run:
    """One layer and direction, run again on the autograd graph."""

    place: LayerPlace
    inputs: Tensor
    state: State
    hidden: Tensor
    """h of all times, in the order of the run; only what lies above depends on it."""
    last: tuple[Tensor, ...]


def _layers(call: FusedCall, of_output: Tensor, of_finals: list[Tensor]) -> list[Recurrence]:
    directions = 1 + call.module.bidirectional
    with torch.enable_grad():
        sequence, runs = call.inputs.detach().requires_grad_(), []
        for layer in range(call.module.num_layers):
            side_by_side = []
            for direction in range(directions):
                initial = tuple(part[layer * directions + direction] for part in call.initial)
                runs.append(_run(LayerPlace(call.module, layer, direction == 1), sequence, initial))
                side_by_side.append(runs[-1].hidden.flip(0) if direction else runs[-1].hidden)
            sequence = torch.cat(side_by_side, dim=-1)
    # What the loss takes from a layer's last state also reaches the layers below.
    roots = [sequence, *(part for run in runs for part in run.last)]
    arriving = [of_output, *(part[index] for index in range(len(runs)) for part in of_finals)]
    of_hidden = torch.autograd.grad(roots, [run.hidden for run in runs], arriving, allow_unused=True)
    return [_recurrence(call, run, of_hidden[i], [part[i] for part in of_finals]) for i, run in enumerate(runs)]


def _run(place: LayerPlace, sequence: Tensor, initial: tuple[Tensor, ...]) -> _Run:
    step = layer_step(place.module, place.layer, place.reverse)
    inputs = sequence.flip(0) if place.reverse else sequence
    before: State = initial if len(initial) > 1 else initial[0]
    state, hidden = before, []
    for x in inputs:
        state = step(x, state)
        hidden.append(state if isinstance(state, Tensor) else state[0])
    last = (state,) if isinstance(state, Tensor) else state
    return _Run(place, inputs.detach(), before, torch.stack(hidden), last)


def _recurrence(call: FusedCall, run: _Run, of_hidden: Tensor | None, of_last: list[Tensor]) -> Recurrence:
    direct = torch.zeros_like(run.hidden) if of_hidden is None else of_hidden.clone()
    direct[-1] += of_last[0]
    if len(of_last) > 1:
        of_cell = direct.new_zeros(*direct.shape[:2], of_last[1].shape[-1])
        of_cell[-1] = of_last[1]
        direct = torch.cat([direct, of_cell], dim=-1)
    suffix = f"l{run.place.layer}{'_reverse' if run.place.reverse else ''}"
    return Recurrence(
        name=f"{call.name}.{suffix}".lstrip("."),
        kind=type(call.module).__name__,
        call=call.call,
        step=layer_step(run.place.module, run.place.layer, run.place.reverse),
        inputs=run.inputs,
        state=run.state,
        direct=direct.detach(),
        place=run.place,
    )

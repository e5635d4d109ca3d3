"""The layers of an nn.RNN, nn.GRU or nn.LSTM run again, each with its own inputs.

What a fused module hands out is the top layer's sequence and the last states. The layers are run again here, one after
the other, so that the gradient that reaches each layer's sequence from above can be asked for.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.step_functions import State, layer_step
from gradscope.probing.recurrence import LayerPlace, Recurrence


@dataclass(frozen=True)
class LayerRun:
    """One layer and direction, run again on the autograd graph.

    Attributes:
        place: which one.
        inputs: of all times, in the order of the run.
        state: before the first time.
        hidden: h of all times, likewise; only what lies above depends on it.
        last: the state after the last time.
    """

    place: LayerPlace
    inputs: Float[Tensor, "time batch input"]
    state: State
    hidden: Float[Tensor, "time batch hidden"]
    last: tuple[Tensor, ...]

    def recurrence(self, name: str, call: int, direct: Float[Tensor, "time batch full_state"]) -> Recurrence:
        """Return the layer as a recurrence.

        Args:
            name: module path.
            call: which of the module's.
            direct: direct gradients over the full state.
        """
        module, layer, reverse = self.place.module, self.place.layer, self.place.reverse
        return Recurrence(
            name=f"{name}.l{layer}{'_reverse' if reverse else ''}".lstrip("."),
            kind=type(module).__name__,
            call=call,
            step=layer_step(module, layer, reverse),
            inputs=self.inputs,
            state=self.state,
            direct=direct.detach(),
            place=self.place,
        )


@dataclass(frozen=True)
class LayerRuns:
    """All layers and directions of one module.

    Attributes:
        top: the sequence that the module hands out.
        layers: from the lowest on, direction by direction.
    """

    top: Float[Tensor, "time batch size"]
    layers: list[LayerRun]

    def of_hidden(self, of_top: Tensor, of_last: Sequence[Tensor]) -> list[Float[Tensor, "time batch hidden"]]:
        """Return what each layer's sequence gets from above, the uppermost from outside.

        Args:
            of_top: gradient of the sequence that the module hands out.
            of_last: of its last states, each part (layers * directions, batch, ...): what a layer's state gets also
                reaches the layers below.
        """
        roots = [self.top, *(part for layer in self.layers for part in layer.last)]
        arriving = [of_top, *(part[index] for index in range(len(self.layers)) for part in of_last)]
        hidden = [layer.hidden for layer in self.layers]
        found = torch.autograd.grad(roots, hidden, arriving, allow_unused=True)
        return [torch.zeros_like(h) if grad is None else grad for h, grad in zip(hidden, found, strict=True)]


def run_layers(module: nn.RNNBase, inputs: Float[Tensor, "time batch input"], initial: Sequence[Tensor]) -> LayerRuns:
    """Run every layer and direction again.

    Args:
        module: the module.
        inputs: of the lowest layer.
        initial: states before the first time, each part (layers * directions, batch, ...).

    Returns:
        The runs.
    """
    directions = 1 + module.bidirectional
    with torch.enable_grad():
        sequence, layers = inputs.detach().requires_grad_(), []
        for layer in range(module.num_layers):
            side_by_side = []
            for direction in range(directions):
                before = tuple(part[layer * directions + direction] for part in initial)
                layers.append(_run(LayerPlace(module, layer, direction == 1), sequence, before))
                side_by_side.append(layers[-1].hidden.flip(0) if direction else layers[-1].hidden)
            sequence = torch.cat(side_by_side, dim=-1)
    return LayerRuns(sequence, layers)


def _run(place: LayerPlace, sequence: Tensor, initial: tuple[Tensor, ...]) -> LayerRun:
    step = layer_step(place.module, place.layer, place.reverse)
    inputs = sequence.flip(0) if place.reverse else sequence
    before: State = initial if len(initial) > 1 else initial[0]
    state, hidden = before, []
    for x in inputs:
        state = step(x, state)
        hidden.append(state if isinstance(state, Tensor) else state[0])
    last = (state,) if isinstance(state, Tensor) else state
    return LayerRun(place, inputs.detach(), before, torch.stack(hidden), last)

"""The full state as one vector a sequence: what a Jacobian of a recurrence has to be taken over.

The state of an LSTM is (h, c); a Jacobian over h alone misses the path through the cell.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.step_functions import BoundStep, State, step_of
from gradscope.errors import UsageError

Step = BoundStep | nn.Module
"""What takes a state from one time to the next: a function (input, state) -> state, a cell, or a one-layer module."""

FlatStep = Callable[[Float[Tensor, "batch ..."], Float[Tensor, "batch state"]], Float[Tensor, "batch state"]]
"""The same over full states."""


@dataclass(frozen=True)
class StateForm:
    """How the parts of a state lie in the full state, one behind the other.

    Attributes:
        shapes: of each part, without the batch axis.
        single: the state is one Tensor and no tuple.
    """

    shapes: tuple[torch.Size, ...]
    single: bool

    @classmethod
    def of(cls, state: State) -> "StateForm":
        """Return the form of a state whose parts are (batch, ...)."""
        parts = (state,) if isinstance(state, Tensor) else state
        return cls(tuple(part.shape[1:] for part in parts), isinstance(state, Tensor))

    @property
    def size(self) -> int:
        """Numbers in the full state of one sequence."""
        return sum(shape.numel() for shape in self.shapes)

    def flatten(self, state: State) -> Float[Tensor, "batch state"]:
        """Return the parts (batch, ...) side by side."""
        if isinstance(state, Tensor):
            return state.flatten(1)
        return torch.cat([part.flatten(1) for part in state], dim=1)

    def restore(self, full: Float[Tensor, "*leading state"]) -> State:
        """Return full states in the form that the cell takes, whatever axes lie before."""
        leading = full.shape[:-1]
        if self.single:
            return full.reshape(*leading, *self.shapes[0])
        parts = torch.split(full, [shape.numel() for shape in self.shapes], dim=-1)
        return tuple(part.reshape(*leading, *shape) for part, shape in zip(parts, self.shapes, strict=True))


def flat_step(step: Step, form: StateForm) -> FlatStep:
    """Return `step` as a function of full states."""
    bound = step_of(step) if isinstance(step, nn.Module) else step
    return lambda x, full: form.flatten(bound(x, form.restore(full)))


def check_batch(inputs: Float[Tensor, "time batch ..."], state: State) -> None:
    """Refuse inputs and states that do not fit each other.

    Raises:
        UsageError: they are of different batch sizes, or there is no time at all.
    """
    sizes = {part.shape[0] for part in ((state,) if isinstance(state, Tensor) else state)}
    if sizes != {inputs.shape[1]}:
        raise UsageError(
            f"inputs are (time, batch, ...) = {tuple(inputs.shape)}, so every part of the state needs a batch axis of "
            f"{inputs.shape[1]}; the state has {', '.join(map(str, sorted(sizes)))}"
        )
    if math.prod(inputs.shape[:2]) == 0:
        raise UsageError(f"inputs {tuple(inputs.shape)} hold no time or no sequence")

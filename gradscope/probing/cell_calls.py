"""From the calls of a cell in the user's own loop to the sequences that they make up."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from gradscope.cells.step_functions import State, cell_step
from gradscope.dynamics.full_state import StateForm
from gradscope.probing.gradients import pulled_back, zeros_for_none
from gradscope.probing.recurrence import Recurrence


def parts_of(state: State) -> tuple[Tensor, ...]:
    """Return the state's tensors as a tuple."""
    return (state,) if isinstance(state, Tensor) else tuple(state)


@dataclass
class CellRun:
    """Calls of one cell, each handed the state that the one before it returned.

    Attributes:
        name: module path.
        module: the cell.
        state: before the first call.
        inputs: of each call.
        handed: the state that went into each call; nothing where there was none.
        taps: zeros added to it.
        outputs: the state that each call returned.
    """

    name: str
    module: nn.Module
    state: State | None
    inputs: list[Tensor] = field(default_factory=list)
    handed: list[tuple[Tensor, ...]] = field(default_factory=list)
    taps: list[tuple[Tensor, ...]] = field(default_factory=list)
    outputs: list[State] = field(default_factory=list)

    def continues(self, state: State | None) -> bool:
        """Return whether a call that is handed `state` goes on where this run stands."""
        if state is None or not self.outputs:
            return False
        pairs = list(zip(parts_of(state), parts_of(self.outputs[-1]), strict=False))
        return all(mine.shape == other.shape and torch.equal(mine, other) for mine, other in pairs)

    @property
    def watched(self) -> list[Tensor]:
        """What the loss may depend on: the state after every call, and the taps between two."""
        return [part for state in (*self.outputs, *self.taps[1:]) for part in parts_of(state)]

    def recurrence(self, call: int, gradients: Sequence[Tensor | None]) -> Recurrence:
        """Return the run, given the gradients of `watched`, whose graph is still there.

        The direct gradient is the total one less what came through the next call: nothing, where a detach lies between.
        """
        filled = zeros_for_none(self.watched, gradients)
        form, width = StateForm.of(self.outputs[0]), len(parts_of(self.outputs[0]))
        of_times = [filled[start : start + width] for start in range(0, len(filled), width)]
        time = len(self.outputs)
        through = [
            pulled_back(handed, parts_of(output), of_taps)
            for handed, output, of_taps in zip(self.handed[1:], self.outputs[:-1], of_times[time:], strict=True)
        ]
        direct = torch.stack([_as_vectors(parts) for parts in of_times[:time]])
        direct[:-1] -= torch.stack([_as_vectors(parts) for parts in through])
        before = form.restore(torch.zeros_like(direct[0])) if self.state is None else self.state
        return Recurrence(
            self.name,
            type(self.module).__name__,
            call,
            cell_step(self.module),
            torch.stack(self.inputs).detach(),
            before.detach() if isinstance(before, Tensor) else tuple(part.detach() for part in before),
            direct.detach(),
        )


def _as_vectors(parts: Sequence[Tensor]) -> Tensor:
    return torch.cat([part.flatten(1) for part in parts], dim=1)

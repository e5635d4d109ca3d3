"""A cell that takes one time, called once for each time of a sequence."""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.step_functions import State


def step_by_forward(module: Any, inputs: Tensor, state: State) -> State:  # noqa: ANN401 - any cell
    """Return the next state of a cell whose forward is already pure and takes (input, state): its own step function."""
    after: State = module.forward(inputs, state)
    return after


class CellLoop(nn.Module):
    """Loops over a cell: state = cell(x_t, state).

    The state is a tensor (batch, hidden), or a tuple of tensors whose first is the output. It begins as zeros, or as
    what the cell's method `initial_state(inputs)` returns for the inputs (batch, input) of the first time.

    Args:
        cell: the cell, as just constructed.
        hidden: its hidden size.
    """

    def __init__(self, cell: nn.Module, hidden: int) -> None:
        super().__init__()
        self.cell = cell
        self.output_size = int(getattr(cell, "output_size", hidden))
        self._hidden = hidden

    def forward(
        self,
        inputs: Float[Tensor, "time batch input"],
        state: Any = None,  # noqa: ANN401 - whatever the cell carries
    ) -> tuple[Float[Tensor, "time batch hidden"], Any]:
        """Read a sequence.

        Args:
            inputs: of all times.
            state: to begin from; None for the cell's own.

        Returns:
            The output at each time, and the last state.
        """
        if state is None:
            state = self._initial(inputs[0])
        outputs = []
        for now in inputs:
            state = self.cell(now, state)
            outputs.append(state[0] if isinstance(state, tuple) else state)
        return torch.stack(outputs), state

    def _initial(self, inputs: Float[Tensor, "batch input"]) -> Any:  # noqa: ANN401 - whatever the cell carries
        if hasattr(self.cell, "initial_state"):
            return self.cell.initial_state(inputs)  # type: ignore[operator]
        zeros = inputs.new_zeros(len(inputs), self._hidden)
        return (zeros, zeros) if isinstance(self.cell, nn.LSTMCell) else zeros

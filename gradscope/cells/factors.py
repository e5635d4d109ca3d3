"""The simplest recurrence: every unit by itself, multiplied by its own factor each time.

h_t = w h_{t-1} + x_t, elementwise. The gradient that reaches n times back is w^n of what it was: vanishing and
exploding in one line.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.loop import step_by_forward
from gradscope.cells.step_functions import register_cell


class Factors(nn.Module):
    """One time of it.

    Args:
        input_size: of the input, whose sum is added to every unit.
        hidden_size: how many factors.
    """

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        del input_size
        self.factor = nn.Parameter(torch.randn(hidden_size))

    def forward(self, inputs: Float[Tensor, "batch input"], hidden: Float[Tensor, "batch hidden"]) -> Tensor:
        """Return the next state."""
        return self.factor * hidden + inputs.sum(1, keepdim=True)


register_cell(Factors, step_by_forward)

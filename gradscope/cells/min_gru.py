"""A GRU whose gates look at the input alone.

z_t = sigmoid(W_z x_t + b_z), h~_t = W_h x_t + b_h
h_t = (1 - z_t) h_{t-1} + z_t h~_t

The state's Jacobian is diagonal, 1 - z_t: the gradient neither mixes nor explodes. Feng et al. 2024, Were RNNs all we
needed?, arXiv:2410.01201.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.loop import step_by_forward
from gradscope.cells.step_functions import register_cell


class MinGRUCell(nn.Module):
    """One time of it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gate = nn.Linear(input_size, hidden_size)
        self.candidate = nn.Linear(input_size, hidden_size)

    def forward(self, inputs: Float[Tensor, "batch input"], hidden: Float[Tensor, "batch hidden"]) -> Tensor:
        """Return the next state."""
        update = torch.sigmoid(self.gate(inputs))
        after: Tensor = (1 - update) * hidden + update * self.candidate(inputs)
        return after


register_cell(MinGRUCell, step_by_forward)

"""An LSTM with nothing but its forget gate.

s_t = W_f x_t + U_f h_{t-1} + b_f
c~_t = tanh(W_c x_t + U_c h_{t-1} + b_c)
h_t = sigmoid(s_t) h_{t-1} + (1 - sigmoid(s_t - 1)) c~_t

The forget bias begins at 1. Van der Westhuizen & Lasenby 2018, The unreasonable effectiveness of the forget gate,
arXiv:1804.04849; they set the bias by chrono initialisation, which needs to know the task.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.loop import step_by_forward
from gradscope.cells.step_functions import register_cell

_BETA = 1.0


class JANETCell(nn.Module):
    """One time of it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, 2 * hidden_size)
        self.recurrent = nn.Linear(hidden_size, 2 * hidden_size, bias=False)
        with torch.no_grad():
            self.input.bias[:hidden_size] = 1.0

    def forward(self, inputs: Float[Tensor, "batch input"], hidden: Float[Tensor, "batch hidden"]) -> Tensor:
        """Return the next state."""
        forget, candidate = (self.input(inputs) + self.recurrent(hidden)).chunk(2, dim=1)
        return torch.sigmoid(forget) * hidden + (1 - torch.sigmoid(forget - _BETA)) * torch.tanh(candidate)


register_cell(JANETCell, step_by_forward)

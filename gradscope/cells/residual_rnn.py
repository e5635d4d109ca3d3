"""A plain recurrence with a way around it: h_t = beta h_{t-1} + alpha tanh(W x_t + U h_{t-1} + b).

alpha and beta are learned, alpha from 0.047 and beta from 0.95, as sigmoids of -3 and 3: at first most of the state
goes on unchanged, so that the gradient decays by beta at most. Kusupati et al. 2018, FastGRNN, arXiv:1901.02358, where
it is called FastRNN; a residual connection through time.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.loop import step_by_forward
from gradscope.cells.step_functions import register_cell


class ResidualRNNCell(nn.Module):
    """One time of it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size)
        self.recurrent = nn.Linear(hidden_size, hidden_size, bias=False)
        self.alpha_logit = nn.Parameter(torch.tensor(-3.0))
        self.beta_logit = nn.Parameter(torch.tensor(3.0))

    def forward(self, inputs: Float[Tensor, "batch input"], hidden: Float[Tensor, "batch hidden"]) -> Tensor:
        """Return the next state."""
        new = torch.tanh(self.input(inputs) + self.recurrent(hidden))
        return torch.sigmoid(self.beta_logit) * hidden + torch.sigmoid(self.alpha_logit) * new


register_cell(ResidualRNNCell, step_by_forward)

"""A linear recurrence with a complex diagonal: h_t = lambda h_{t-1} + gamma B x_t.

lambda = exp(-exp(nu) + i exp(theta)), one for each unit.
The state holds real and imaginary parts side by side, so that a linear read-out of it is Re(C h). |lambda| < 1 always:
the gradient of unit j decays by |lambda_j| a time, no faster and no slower. gamma begins as sqrt(1 - |lambda|^2), which
keeps the state's size.
Orvieto et al. 2023, Resurrecting recurrent neural networks for long sequences, arXiv:2303.06349, one layer of it.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.loop import step_by_forward
from gradscope.cells.step_functions import register_cell
from gradscope.errors import UsageError

# The ring on which the eigenvalues begin.
_SMALLEST, _LARGEST = 0.9, 0.999
_LARGEST_PHASE = math.pi / 10


class LRUCell(nn.Module):
    """One time of it; `hidden_size` counts real and imaginary parts."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        if hidden_size % 2:
            raise UsageError(f"an LRU has pairs of units, real and imaginary: expected an even size, got {hidden_size}")
        units = hidden_size // 2
        square = _SMALLEST**2 + torch.rand(units) * (_LARGEST**2 - _SMALLEST**2)
        self.log_decay = nn.Parameter((-square.log() / 2).log())
        self.log_phase = nn.Parameter((torch.rand(units) * _LARGEST_PHASE).log())
        self.input = nn.Linear(input_size, hidden_size, bias=False)
        nn.init.normal_(self.input.weight, std=1 / math.sqrt(2 * input_size))
        self.log_scale = nn.Parameter((1 - square).log() / 2)

    def forward(self, inputs: Float[Tensor, "batch input"], hidden: Float[Tensor, "batch hidden"]) -> Tensor:
        """Return the next state."""
        modulus, phase = torch.exp(-torch.exp(self.log_decay)), torch.exp(self.log_phase)
        real, imaginary = modulus * torch.cos(phase), modulus * torch.sin(phase)
        before_real, before_imaginary = hidden.chunk(2, dim=1)
        turned = torch.cat(
            (
                real * before_real - imaginary * before_imaginary,
                imaginary * before_real + real * before_imaginary,
            ),
            dim=1,
        )
        after: Tensor = turned + torch.exp(self.log_scale).repeat(2) * self.input(inputs)
        return after


register_cell(LRUCell, step_by_forward)

"""A recurrence whose matrix is orthogonal whatever it learns: h_t = modrelu(W x_t + exp(A - A^T) h_{t-1}).

modrelu(z) = sign(z) relu(|z| + b), so that with b = 0 the gradient keeps its length exactly. A begins as rotations of
pairs of units by angles from -pi to pi. Lezcano-Casado & Martinez-Rubio 2019, Cheap orthogonal constraints in neural
networks, arXiv:1901.08428 (expRNN); modrelu of Arjovsky, Shah & Bengio 2016.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.loop import step_by_forward
from gradscope.cells.step_functions import register_cell


class ExpRNNCell(nn.Module):
    """One time of it."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.input = nn.Linear(input_size, hidden_size, bias=False)
        nn.init.kaiming_normal_(self.input.weight, nonlinearity="relu")
        angles = torch.zeros(hidden_size, hidden_size)
        pairs = torch.arange(0, hidden_size - 1, 2)
        angles[pairs, pairs + 1] = torch.empty(len(pairs)).uniform_(-math.pi, math.pi)
        self.generator = nn.Parameter(angles)
        self.bias = nn.Parameter(torch.zeros(hidden_size))

    def recurrent(self) -> Float[Tensor, "hidden hidden"]:
        """Return the recurrent matrix, orthogonal to rounding."""
        upper = self.generator.triu(1)
        matrix: Tensor = torch.linalg.matrix_exp(upper - upper.T)
        return matrix

    def forward(self, inputs: Float[Tensor, "batch input"], hidden: Float[Tensor, "batch hidden"]) -> Tensor:
        """Return the next state."""
        inside = self.input(inputs) + hidden @ self.recurrent().T
        return torch.sign(inside) * torch.relu(inside.abs() + self.bias)


register_cell(ExpRNNCell, step_by_forward)

"""What the dynamics' tests share: recurrent cells of torch with a batch, and the states and Jacobians autograd gives.

Only torch's own modules run here, never a step function of gradscope.
"""

from dataclasses import dataclass

import torch
from hypothesis import strategies as st
from torch import Tensor, nn

CELLS = {
    "tanh": nn.RNNCell,
    "relu": lambda *sizes: nn.RNNCell(*sizes, nonlinearity="relu"),
    "gru": nn.GRUCell,
    "lstm": nn.LSTMCell,
}
TOLERANCE = {torch.float32: {"rtol": 2e-3, "atol": 1e-5}, torch.float64: {"rtol": 1e-9, "atol": 1e-11}}


@dataclass(frozen=True)
class Case:
    """One cell and one batch."""

    kind: str
    time: int
    batch: int
    inputs: int
    hidden: int
    dtype: torch.dtype
    seed: int

    def make(self) -> tuple[nn.Module, Tensor, Tensor | tuple[Tensor, Tensor]]:
        """Return the cell, inputs (time, batch, input) and the state before."""
        torch.manual_seed(self.seed)
        cell = CELLS[self.kind](self.inputs, self.hidden).to(self.dtype)
        x = torch.randn(self.time, self.batch, self.inputs, dtype=self.dtype)
        states = torch.randn(2, self.batch, self.hidden, dtype=self.dtype)
        return cell, x, (states[0], states[1]) if self.kind == "lstm" else states[0]


def cases(min_time: int = 1) -> st.SearchStrategy[Case]:
    """Draw a cell and a batch."""
    return st.builds(
        Case,
        kind=st.sampled_from(sorted(CELLS)),
        time=st.integers(min_time, 8),
        batch=st.integers(1, 4),
        inputs=st.integers(1, 3),
        hidden=st.integers(1, 5),
        dtype=st.sampled_from([torch.float32, torch.float64]),
        seed=st.integers(0, 2**20),
    )


def double(cell: nn.Module, x: Tensor, state: Tensor | tuple[Tensor, Tensor]) -> tuple[nn.Module, Tensor, list[Tensor]]:
    """Return float64 copies, the state as a list of its parts."""
    other = type(cell)(cell.input_size, cell.hidden_size).double()
    other.load_state_dict(cell.state_dict())
    if isinstance(cell, nn.RNNCell):
        other.nonlinearity = cell.nonlinearity
    parts = [state] if isinstance(state, Tensor) else list(state)
    return other, x.double(), [part.double() for part in parts]


def full(parts: list[Tensor]) -> Tensor:
    """Return h, or h and c one behind the other."""
    return torch.cat(parts, dim=-1)


def call(cell: nn.Module, x: Tensor, z: Tensor) -> Tensor:
    """Return the cell's next full state."""
    if isinstance(cell, nn.LSTMCell):
        return torch.cat(cell(x, tuple(z.chunk(2, dim=-1))), dim=-1)
    return cell(x, z)


def unroll(cell: nn.Module, x: Tensor, parts: list[Tensor]) -> list[Tensor]:
    """Return the full states of all times, each with a gradient that autograd keeps."""
    z, states = full(parts), []
    for xt in x:
        z = call(cell, xt, z)
        z.retain_grad()
        states.append(z)
    return states


def dense_jacobians(cell: nn.Module, x: Tensor, parts: list[Tensor]) -> Tensor:
    """Return J_t (time, batch, state, state) by torch.autograd.functional.jacobian, one sequence at a time."""
    z, jacobians = full(parts), []
    for xt in x:
        each = [
            torch.autograd.functional.jacobian(lambda s, xn=xn: call(cell, xn[None], s[None])[0], zn)
            for xn, zn in zip(xt, z, strict=True)
        ]
        jacobians.append(torch.stack(each))
        z = call(cell, xt, z).detach()
    return torch.stack(jacobians)

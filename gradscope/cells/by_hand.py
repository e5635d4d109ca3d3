"""Cells written out by hand, as people write them to understand them: a matrix for every gate, a loop over time.

Nothing in them knows gradscope, but for the one call of a tap. The equations are PyTorch's own, so that with the same
weights they are nn.RNN, nn.LSTM and nn.GRU.
"""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.loop import step_by_forward
from gradscope.cells.step_functions import register_cell


class Tapped(nn.Module):
    """A module whose loop hands each state to a tap, as `recorder.tap`; unless it is given one, that does nothing."""

    tap: Callable[..., Tensor] = staticmethod(lambda name, tensor, time=None: tensor)  # noqa: ARG005


class RNNByHand(Tapped):
    """h_t = tanh(x_t W_xh + h_{t-1} W_hh + b_h), all times in one loop over plain tensors."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        bound = hidden_size**-0.5
        self.w_xh = _uniform(bound, input_size, hidden_size)
        self.w_hh = _uniform(bound, hidden_size, hidden_size)
        self.b_h = _uniform(bound, hidden_size)

    def forward(
        self,
        inputs: Float[Tensor, "time batch input"],
        state: Float[Tensor, "batch hidden"] | None = None,
    ) -> tuple[Float[Tensor, "time batch hidden"], Float[Tensor, "batch hidden"]]:
        """Read a sequence.

        Args:
            inputs: of all times.
            state: to begin from; None for zeros.

        Returns:
            The state at each time, and the last one.
        """
        h = inputs.new_zeros(inputs.shape[1], len(self.w_hh)) if state is None else state
        states = []
        for time, x in enumerate(inputs):
            h = torch.tanh(x @ self.w_xh + h @ self.w_hh + self.b_h)
            h = self.tap("by_hand", h, time=time)
            states.append(h)
        return torch.stack(states), h


class LSTMCellByHand(nn.Module):
    """One time of an LSTM: every gate has its own W (input), U (state) and b."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        for gate in ("i", "f", "g", "o"):
            _add_gate(self, gate, input_size, hidden_size)
        self._hidden = hidden_size

    def forward(
        self, inputs: Float[Tensor, "batch input"], state: tuple[Tensor, Tensor]
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
        """Return h_t and c_t."""
        h, c = state
        gates = self.gates(inputs, state)
        c = gates["forget"] * c + gates["input"] * torch.tanh(_sum(self, "g", inputs, h))
        return gates["output"] * torch.tanh(c), c

    def gates(self, inputs: Float[Tensor, "batch input"], state: tuple[Tensor, Tensor]) -> Mapping[str, Tensor]:
        """Return how open each gate is at this time."""
        names = {"i": "input", "f": "forget", "o": "output"}
        return {name: torch.sigmoid(_sum(self, gate, inputs, state[0])) for gate, name in names.items()}

    def initial_state(self, inputs: Float[Tensor, "batch input"]) -> tuple[Tensor, Tensor]:
        """Return h and c before the first time: zeros."""
        zeros = inputs.new_zeros(len(inputs), self._hidden)
        return zeros, zeros


class GRUCellByHand(nn.Module):
    """One time of a GRU: every gate has its own W (input), U (state) and b, the candidate two b."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        for gate in ("r", "z", "n"):
            _add_gate(self, gate, input_size, hidden_size)
        self.b_hn = _uniform(hidden_size**-0.5, hidden_size)

    def forward(self, inputs: Float[Tensor, "batch input"], h: Float[Tensor, "batch hidden"]) -> Tensor:
        """Return h_t; the update gate is what keeps the state."""
        gates = self.gates(inputs, h)
        w_n, u_n, b_n = _of_gate(self, "n")
        candidate = torch.tanh(inputs @ w_n + b_n + gates["reset"] * (h @ u_n + self.b_hn))
        return (1 - gates["update"]) * candidate + gates["update"] * h

    def gates(self, inputs: Float[Tensor, "batch input"], h: Float[Tensor, "batch hidden"]) -> Mapping[str, Tensor]:
        """Return how open each gate is at this time."""
        return {name: torch.sigmoid(_sum(self, gate, inputs, h)) for gate, name in (("r", "reset"), ("z", "update"))}


def _add_gate(cell: nn.Module, gate: str, input_size: int, hidden_size: int) -> None:
    bound = hidden_size**-0.5
    cell.register_parameter(f"w_{gate}", _uniform(bound, input_size, hidden_size))
    cell.register_parameter(f"u_{gate}", _uniform(bound, hidden_size, hidden_size))
    cell.register_parameter(f"b_{gate}", _uniform(bound, hidden_size))


def _sum(cell: nn.Module, gate: str, x: Tensor, h: Tensor) -> Tensor:
    w, u, b = _of_gate(cell, gate)
    return x @ w + h @ u + b


def _of_gate(cell: Any, gate: str) -> tuple[Tensor, Tensor, Tensor]:  # noqa: ANN401 - its parameters are found by name
    return getattr(cell, f"w_{gate}"), getattr(cell, f"u_{gate}"), getattr(cell, f"b_{gate}")


def _uniform(bound: float, *shape: int) -> nn.Parameter:
    return nn.Parameter(torch.empty(*shape).uniform_(-bound, bound))


register_cell(LSTMCellByHand, step_by_forward)
register_cell(GRUCellByHand, step_by_forward)

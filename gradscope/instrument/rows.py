"""The whole sequence of each quantity of one pass, in memory that the next recorded pass takes over."""

from typing import TYPE_CHECKING

from torch import Tensor

from gradscope.instrument.direction import Direction
from gradscope.instrument.workspace import Workspace

if TYPE_CHECKING:
    from jaxtyping import Float

_GATES = {"gru": {"reset": 0, "update": 1}, "lstm": {"input": 0, "forget": 1, "output": 3}}


class Rows:
    """Sequences in the order of processing.

    Args:
        direction: whose sequences they are.
        workspace: the direction's memory.

    Attributes:
        hidden: h_t.
        hidden_before: h_{t-1}.
        total_gradient: a_t.
        cell: c_t of an LSTM.
        cell_gradient: dL/dc_t of an LSTM.
        all_gates: r, z of a GRU, or i, f, g, o of an LSTM.
        gate_rows: those that open and close between 0 and 1, by name, and where each is among `all_gates`.
        gates: the same, as views.
    """

    def __init__(self, direction: Direction, workspace: Workspace) -> None:
        time, batch, hidden = direction.shape
        units, kind = direction.units, direction.kind

        def take(name: str, *shape: int) -> Tensor:
            return workspace.take(name, (*shape,), direction.dtype, direction.device)

        # One row more than there are times: h_{t-1} is then a view, with the initial state before time 0.
        states = take("states", time + 1, batch, hidden)
        self.hidden: Float[Tensor, "time batch hidden"] = states[1:]
        self.hidden_before: Float[Tensor, "time batch hidden"] = states[:-1]
        self.total_gradient: Float[Tensor, "time batch hidden"] = take("total_gradient", time, batch, hidden)
        self.all_gates: Float[Tensor, "time batch gates units"] | None = None
        self.gate_rows = _GATES.get(kind, {})
        self.cell: Float[Tensor, "time batch units"] | None = None
        self.cell_gradient: Float[Tensor, "time batch units"] | None = None
        if kind == "gru":
            self.all_gates = take("gates", time, batch, 2, units)
        if kind == "lstm":
            self.cell = take("cell", time, batch, units)
            self.cell_gradient = take("cell_gradient", time, batch, units)
            self.all_gates = take("gates", time, batch, 4, units)
        self.gates: dict[str, Float[Tensor, "time batch units"]] = (
            {} if self.all_gates is None else {name: self.all_gates[:, :, row] for name, row in self.gate_rows.items()}
        )
        self._take = take
        self._batch, self._units = batch, units

    def scratch(self, times: slice, *leading: int) -> Tensor:
        """Return memory for the factors of one block, (time, batch, *leading, units)."""
        return self._take("scratch", times.stop - times.start, self._batch, *leading, self._units)

"""The whole sequence of each quantity of one pass, in memory that the next recorded pass takes over."""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.fused.direction import Direction
from gradscope.instrument.fused.workspace import Workspace


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
        gates: the gates that open and close between 0 and 1, by name.
    """

    def __init__(self, direction: Direction, workspace: Workspace) -> None:
        time, batch, hidden = direction.shape
        units, kind = direction.units, direction.kind

        take = partial(_take, workspace, direction)
        # One row more than there are times: h_{t-1} is then a view, with the initial state before time 0.
        states = take("states", time + 1, batch, hidden)
        self.hidden: Float[Tensor, "time batch hidden"] = states[1:]
        self.hidden_before: Float[Tensor, "time batch hidden"] = states[:-1]
        self.total_gradient: Float[Tensor, "time batch hidden"] = take("total_gradient", time, batch, hidden)
        self.gates: dict[str, Float[Tensor, "time batch units"]] = {}
        self.cell: Float[Tensor, "time batch units"] | None = None
        self.cell_gradient: Float[Tensor, "time batch units"] | None = None
        if kind == "gru":
            self.gates = {name: take(name, time, batch, units) for name in ("reset", "update")}
        if kind == "lstm":
            self.cell = take("cell", time, batch, units)
            self.cell_gradient = take("cell_gradient", time, batch, units)
        self._take = take
        self._time, self._batch, self._units = time, batch, units

    def lstm_gates(self) -> Float[Tensor, "time batch 4 units"]:
        """Return memory for the gates i, f, g, o of an LSTM."""
        return self._take("lstm_gates", self._time, self._batch, 4, self._units)

    def name_lstm_gates(self, gates: Float[Tensor, "time batch 4 units"]) -> None:
        """Take i, f, g, o as the gates."""
        self.gates = {name: gates[:, :, row] for name, row in (("input", 0), ("forget", 1), ("output", 3))}

    def scratch(self, times: slice, *leading: int) -> Tensor:
        """Return memory for the factors of one block, (time, batch, *leading, units)."""
        return self._take("scratch", times.stop - times.start, self._batch, *leading, self._units)


def _take(workspace: Workspace, direction: Direction, name: str, *shape: int) -> Tensor:
    return workspace.take(name, shape, direction.dtype, direction.device)

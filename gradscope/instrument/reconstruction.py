"""From a call and the gradients that came back to it, to everything that happened at each time: one function a cell.

The functions go through the sequence in blocks of a few times. On CPU a block's temporaries then stay in the cache;
on a GPU, where each operation has a price of its own, one block is the whole sequence.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.elman import Nonlinearity, activation_derivative
from gradscope.cells.gru import GRUTimes, gru_preactivation_factors, recompute_gru
from gradscope.cells.lstm import lstm_preactivation_factors, recompute_lstm_gates, scan_cells
from gradscope.cells.weights import LayerWeights
from gradscope.dynamics.adjoint import elman_adjoint, gru_adjoint, lstm_adjoint
from gradscope.instrument.fused import Call, kind_of
from gradscope.instrument.graph import SavedGates
from gradscope.instrument.workspace import Workspace

FLAT_TANH = 0.9
"""|tanh(u)| above this counts as saturated: its derivative is below 0.19."""

_BLOCK_ELEMENTS_ON_CPU = 262_144


@dataclass(frozen=True, eq=False)
class Block:
    """What happened at some consecutive times and is not kept in `Rows`; valid until the next block.

    Attributes:
        times: which times.
        preactivation_gradient: delta_t; whoever reads it last may overwrite it.
        saturation: share of the units whose nonlinearity is flat.
    """

    times: slice
    preactivation_gradient: Float[Tensor, "time batch rows"]
    saturation: Float[Tensor, " time"]


class Rows:
    """The whole sequence of each quantity, in memory that the next recorded pass through the layer takes over.

    Args:
        call: the call whose sequence it is.
        workspace: the layer's memory.

    Attributes:
        hidden: h_t.
        hidden_before: h_{t-1}.
        total_gradient: a_t.
        cell: c_t of an LSTM.
        cell_gradient: dL/dc_t of an LSTM.
        lstm_gates: the gates i, f, g, o of an LSTM.
        gates: the gates that open and close between 0 and 1, by name.
    """

    def __init__(self, call: Call, workspace: Workspace) -> None:
        time, batch, hidden = call.shape

        def take(name: str, *leading: int) -> Tensor:
            return workspace.take(name, (time, batch, *leading, hidden), call.dtype, call.device)

        # One row more than there are times: h_{t-1} is then a view, with the initial state before time 0.
        states = workspace.take("states", (time + 1, batch, hidden), call.dtype, call.device)
        self.hidden: Float[Tensor, "time batch hidden"] = states[1:]
        self.hidden_before: Float[Tensor, "time batch hidden"] = states[:-1]
        self.total_gradient: Float[Tensor, "time batch hidden"] = take("total_gradient")
        self.gates: dict[str, Float[Tensor, "time batch hidden"]] = {}
        if call.module.mode == "GRU":
            self.gates = {name: take(name) for name in ("reset", "update")}
        if call.module.mode == "LSTM":
            self.cell: Float[Tensor, "time batch hidden"] = take("cell")
            self.cell_gradient: Float[Tensor, "time batch hidden"] = take("cell_gradient")
            self.lstm_gates: Float[Tensor, "time batch 4 hidden"] = take("lstm_gates", 4)
            named = (("input", 0), ("forget", 1), ("output", 3))
            self.gates = {name: self.lstm_gates[:, :, row] for name, row in named}
        self._workspace = workspace

    def scratch(self, times: slice, *leading: int) -> Tensor:
        """Return memory for the factors of one block, (time, batch, *leading, hidden)."""
        _, batch, hidden = self.hidden.shape
        shape = (times.stop - times.start, batch, *leading, hidden)
        return self._workspace.take("scratch", shape, self.hidden.dtype, self.hidden.device)


def blocks_of(call: Call) -> list[slice]:
    """Return the sequence cut into blocks, the last times first, as gradients travel."""
    time, batch, hidden = call.shape
    length = max(1, _BLOCK_ELEMENTS_ON_CPU // (batch * hidden)) if call.device.type == "cpu" else time
    return [slice(max(0, stop - length), stop) for stop in range(time, 0, -length)]


def _tanh_saturation(activation: Float[Tensor, "time batch hidden"]) -> Float[Tensor, " time"]:
    size = activation.abs()
    # Compared into floats: on CPU that is four times as fast as a mask of booleans.
    return torch.gt(size, FLAT_TANH, out=size).mean((1, 2))


def _elman_saturation(derivative: Float[Tensor, "time batch hidden"]) -> Float[Tensor, " time"]:
    flat = torch.empty_like(derivative)
    return torch.lt(derivative, 1 - FLAT_TANH**2, out=flat).mean((1, 2))


def _elman(call: Call, rows: Rows, nonlinearity: Nonlinearity) -> Iterator[Block]:
    gradients = call.gradients_per_time()
    recurrent = call.weights().recurrent if gradients is None else None
    incoming = None
    for times in blocks_of(call):
        total = rows.total_gradient[times]
        delta = activation_derivative(rows.hidden[times], nonlinearity, out=rows.scratch(times))
        saturation = _elman_saturation(delta)
        if recurrent is not None:
            incoming = elman_adjoint(call.direct_gradient(times), delta, recurrent, incoming, total)
        else:
            delta.mul_(torch.stack((gradients or [])[times], out=total))
        yield Block(times, delta, saturation)


def _gru(call: Call, rows: Rows) -> Iterator[Block]:
    gates, gradients, saved = rows.gates, call.gradients_per_time(), call.saved_gates
    weights = call.weights()
    incoming = None
    for times in blocks_of(call):
        before, total, delta = rows.hidden_before[times], rows.total_gradient[times], rows.scratch(times, 3)
        computed = recompute_gru(call.inputs(times), before, weights) if saved is None else _stack_gates(saved[times])
        gates["reset"][times], gates["update"][times] = computed.reset, computed.update
        gru_preactivation_factors(computed, before, out=delta)
        if gradients is None:
            incoming = gru_adjoint(call.direct_gradient(times), computed, delta, weights.recurrent, incoming, total)
        else:
            delta.mul_(torch.stack(gradients[times], out=total).unsqueeze(2))
        yield Block(times, delta.flatten(2), _tanh_saturation(computed.candidate))


def _stack_gates(saved: SavedGates) -> GRUTimes:
    return GRUTimes(*(torch.stack(part) for part in zip(*saved, strict=True)))


def _lstm(call: Call, rows: Rows) -> Iterator[Block]:
    weights = call.weights()
    _recompute_lstm(call, rows, weights)
    incoming, incoming_cell = None, call.direct_last_cell()
    for times in blocks_of(call):
        gates, cell, delta = rows.lstm_gates[times], rows.cell[times], rows.scratch(times, 4)
        tanh_cell = cell.tanh()
        earlier = rows.cell[times.start - 1] if times.start else call.first_cell()
        lstm_preactivation_factors(gates, torch.cat((earlier.unsqueeze(0), cell[:-1])), tanh_cell, out=delta)
        incoming, incoming_cell = lstm_adjoint(
            call.direct_gradient(times),
            gates,
            tanh_cell,
            delta,
            weights.recurrent,
            incoming,
            incoming_cell,
            out=rows.total_gradient[times],
            out_cell=rows.cell_gradient[times],
        )
        yield Block(times, delta.flatten(2), _tanh_saturation(tanh_cell))


def _recompute_lstm(call: Call, rows: Rows, weights: LayerWeights) -> None:
    earlier = call.first_cell()
    for times in reversed(blocks_of(call)):
        recompute_lstm_gates(call.inputs(times), rows.hidden_before[times], weights, rows.lstm_gates[times])
        scan_cells(rows.lstm_gates[times], earlier, rows.cell[times])
        earlier = rows.cell[times.stop - 1]


_CELLS: dict[str, Callable[[Call, Rows], Iterator[Block]]] = {
    "rnn_tanh": partial(_elman, nonlinearity="tanh"),
    "rnn_relu": partial(_elman, nonlinearity="relu"),
    "gru": _gru,
    "lstm": _lstm,
}


def reconstruct(call: Call, rows: Rows) -> Iterator[Block]:
    """Go back through a call that a backward pass has just gone through, and fill `rows` on the way.

    Returns:
        Its blocks, the last times first.

    Raises:
        Unrecordable: something that the forward pass saw has changed since.
    """
    call.check_unchanged()
    rows.hidden_before[0] = call.first_hidden()
    rows.hidden.copy_(call.hidden())
    return _CELLS[kind_of(call.module)](call, rows)

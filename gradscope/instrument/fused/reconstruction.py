"""From a call and the gradients that came back to it, to everything that happened at each time: one function a cell.

The functions go through the sequence in blocks of a few times. On CPU a block's temporaries then stay in the cache;
on a GPU, where each operation has a price of its own, one block is the whole sequence. So it is for a packed sequence,
whose padding is kept out by making delta_t zero there.
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
from gradscope.cells.weights import LayerWeights, project
from gradscope.dynamics.adjoint import (
    elman_adjoint,
    elman_state_adjoint,
    gru_adjoint,
    gru_agrees,
    gru_state_adjoint,
    lstm_adjoint,
    lstm_agrees,
    lstm_cell_adjoint,
    lstm_state_adjoint,
)
from gradscope.instrument.fused.direction import Direction
from gradscope.instrument.fused.onednn import KeptStates, agrees
from gradscope.instrument.fused.rows import Rows
from gradscope.instrument.summary import FLAT_TANH

_BLOCK_ELEMENTS_ON_CPU = 262_144
_TIMES_CHECKED = 16
"""Of a block: what is wrong grows from time to time, and shows at the earliest ones."""


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
    saturation: Float[Tensor, "time batch"]


def blocks_of(direction: Direction) -> list[slice]:
    """Return the sequence cut into blocks, the last times first, as gradients travel."""
    time, batch, hidden = direction.shape
    whole = direction.device.type != "cpu" or direction.exists is not None
    length = time if whole else max(1, _BLOCK_ELEMENTS_ON_CPU // (batch * hidden))
    return [slice(max(0, stop - length), stop) for stop in range(time, 0, -length)]


def _tanh_saturation(activation: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "time batch"]:
    size = activation.abs()
    # Compared into floats: on CPU that is four times as fast as a mask of booleans.
    return torch.gt(size, FLAT_TANH, out=size).mean(2)


def _elman_saturation(derivative: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "time batch"]:
    flat = torch.empty_like(derivative)
    return torch.lt(derivative, 1 - FLAT_TANH**2, out=flat).mean(2)


def _elman(direction: Direction, rows: Rows, nonlinearity: Nonlinearity) -> Iterator[Block]:
    recurrent, incoming = direction.recurrent_weight(), None
    for times in blocks_of(direction):
        total = rows.total_gradient[times]
        delta = activation_derivative(rows.hidden[times], nonlinearity, out=rows.scratch(times))
        saturation = _elman_saturation(delta)
        _clear_padding(direction, delta)
        if direction.projected is not None:
            delta.copy_(direction.projected_at(times))
            incoming = elman_state_adjoint(total.copy_(direction.direct.at(times)), delta, recurrent, incoming)
        elif direction.recurrent is not None:
            delta.mul_(total.copy_(direction.total_from_zeros(times)))
        else:
            incoming = elman_adjoint(direction.direct.at(times), delta, recurrent, incoming, total)
        yield Block(times, delta, saturation)


def _gru(direction: Direction, rows: Rows) -> Iterator[Block]:
    if direction.projected is None:
        yield from _gru_swept(direction, rows)
        return
    recurrent, incoming = direction.recurrent_weight(), None
    for times in blocks_of(direction):
        total, delta = rows.total_gradient[times], rows.scratch(times, 3)
        candidate, update = _gru_gates(direction, rows, times), rows.gates["update"][times]
        delta.flatten(2).copy_(direction.projected_at(times))
        few = _few_of(len(total))
        candidate_gradient = delta[few, :, 2].clone()
        delta[:, :, 2].mul_(rows.gates["reset"][times])
        total.copy_(direction.direct.at(times))
        sent = gru_state_adjoint(total, update, delta.flatten(2), recurrent, incoming)
        exists = None if direction.exists is None else direction.exists[few]
        known = (total[few], update[few], candidate[few], candidate_gradient)
        if not gru_agrees(*known, exists, direction.rounding):
            sent = _gru_closed_loop(direction, rows, times, candidate, incoming)
        incoming = sent
        yield Block(times, delta.flatten(2), _tanh_saturation(candidate))


def _few_of(count: int) -> slice:
    return slice(None, None, max(1, count // _TIMES_CHECKED))


def _gru_closed_loop(
    direction: Direction,
    rows: Rows,
    times: slice,
    candidate: Float[Tensor, "time batch hidden"],
    incoming: Float[Tensor, "batch hidden"] | None,
) -> Float[Tensor, "batch hidden"]:
    before, delta, recurrent = rows.hidden_before[times], rows.scratch(times, 3), direction.recurrent_weight()
    of_candidate = slice(2 * direction.units, None)
    from_hidden = project(before, recurrent[of_candidate], direction.recurrent_bias()[of_candidate])
    computed = GRUTimes(rows.gates["reset"][times], rows.gates["update"][times], candidate, from_hidden)
    gru_preactivation_factors(computed, before, out=delta)
    _clear_padding(direction, delta)
    direct = direction.direct.at(times)
    return gru_adjoint(direct, computed, delta, recurrent, incoming, rows.total_gradient[times])


def _gru_gates(direction: Direction, rows: Rows, times: slice) -> Float[Tensor, "time batch hidden"]:
    reset, update = rows.gates["reset"][times], rows.gates["update"][times]
    if direction.saved_gates is not None:
        saved_reset, saved_update, saved_candidate = zip(*direction.saved_gates[times], strict=True)
        reset.copy_(torch.stack(saved_reset))
        update.copy_(torch.stack(saved_update))
        return torch.stack(saved_candidate)
    computed = recompute_gru(direction.inputs(times), rows.hidden_before[times], direction.weights())
    reset.copy_(computed.reset)
    update.copy_(computed.update)
    return computed.candidate


def _gru_swept(direction: Direction, rows: Rows) -> Iterator[Block]:
    gates, weights, incoming = rows.gates, direction.weights(), None
    for times in blocks_of(direction):
        before, total, delta = rows.hidden_before[times], rows.total_gradient[times], rows.scratch(times, 3)
        computed = recompute_gru(direction.inputs(times), before, weights)
        gates["reset"][times], gates["update"][times] = computed.reset, computed.update
        gru_preactivation_factors(computed, before, out=delta)
        _clear_padding(direction, delta)
        incoming = gru_adjoint(direction.direct.at(times), computed, delta, weights.recurrent, incoming, total)
        yield Block(times, delta.flatten(2), _tanh_saturation(computed.candidate))


def _lstm(direction: Direction, rows: Rows) -> Iterator[Block]:
    kept = direction.left
    if kept is not None and _take_kept(direction, rows, kept):
        yield from _lstm_kept(direction, rows, kept.gates)
    else:
        yield from _lstm_swept(direction, rows)


def _take_kept(direction: Direction, rows: Rows, kept: KeptStates) -> bool:
    assert rows.cell is not None
    assert rows.cell_gradient is not None
    cell, total, back = rows.cell, rows.total_gradient, rows.cell_gradient
    cell[:-1] = kept.cells
    input_gate, forget_gate, candidate, _ = kept.gates[-1].unbind(1)
    torch.addcmul(input_gate * candidate, forget_gate, cell[-2], out=cell[-1])
    total.copy_(direction.direct.all_times())
    total[:-1] += kept.hidden_gradient
    back[:-1], back[-1] = kept.cell_gradient, direction.direct.last_cell()
    return kept.has_agreed or agrees(kept, rows.hidden, cell, total, back, direction.recurrent_weight())


def _lstm_kept(direction: Direction, rows: Rows, gates: Float[Tensor, "all_times batch 4 units"]) -> Iterator[Block]:
    assert rows.cell_gradient is not None
    rows.name_lstm_gates(gates)
    for times in blocks_of(direction):
        tanh_cell, delta = _lstm_factors(direction, rows, gates, times)
        lstm_state_adjoint(rows.total_gradient[times], gates[times], tanh_cell, delta, rows.cell_gradient[times])
        yield Block(times, delta.flatten(2), _tanh_saturation(tanh_cell))


def _lstm_swept(direction: Direction, rows: Rows) -> Iterator[Block]:
    weights, all_gates = direction.weights(), rows.lstm_gates()
    rows.name_lstm_gates(all_gates)
    assert rows.cell is not None
    assert rows.cell_gradient is not None
    _recompute_lstm(direction, rows, all_gates, rows.cell, weights)
    incoming, incoming_cell = None, direction.direct.last_cell()
    for times in blocks_of(direction):
        tanh_cell, delta = _lstm_factors(direction, rows, all_gates, times)
        gates, total, cell_gradient = all_gates[times], rows.total_gradient[times], rows.cell_gradient[times]
        if direction.recurrent is not None:
            total.copy_(direction.total_from_zeros(times))
            sent_by_cell = lstm_cell_adjoint(
                total, gates, tanh_cell, delta, weights.projection, incoming_cell, cell_gradient
            )
            back = direction.sent_back(times)
            # On a GPU nobody looks: that would wait for the device.
            if direction.device.type != "cpu" or lstm_agrees(
                back, delta.flatten(2), weights.recurrent, direction.rounding, _TIMES_CHECKED
            ):
                incoming_cell = sent_by_cell
                yield Block(times, delta.flatten(2), _tanh_saturation(tanh_cell))
                continue
            incoming = back[-1] if len(back) == len(total) else None
            tanh_cell, delta = _lstm_factors(direction, rows, all_gates, times)
        incoming, incoming_cell = lstm_adjoint(
            direction.direct.at(times),
            gates,
            tanh_cell,
            delta,
            weights,
            incoming,
            incoming_cell,
            out=total,
            out_cell=cell_gradient,
        )
        yield Block(times, delta.flatten(2), _tanh_saturation(tanh_cell))


def _lstm_factors(
    direction: Direction, rows: Rows, gates: Float[Tensor, "all_times batch 4 units"], times: slice
) -> tuple[Float[Tensor, "time batch units"], Float[Tensor, "time batch 4 units"]]:
    assert rows.cell is not None
    cell, factors = rows.cell[times], rows.scratch(times, 4)
    earlier = rows.cell[times.start - 1] if times.start else direction.first_cell()
    tanh_cell = cell.tanh()
    lstm_preactivation_factors(gates[times], torch.cat((earlier.unsqueeze(0), cell[:-1])), tanh_cell, out=factors)
    return tanh_cell, factors


def _recompute_lstm(
    direction: Direction,
    rows: Rows,
    all_gates: Float[Tensor, "all_times batch 4 units"],
    cells: Float[Tensor, "all_times batch units"],
    weights: LayerWeights,
) -> None:
    earlier = direction.first_cell()
    for times in reversed(blocks_of(direction)):
        gates = all_gates[times]
        recompute_lstm_gates(direction.inputs(times), rows.hidden_before[times], weights, gates)
        if direction.exists is not None:
            # Where there is no input nothing is added and nothing forgotten, so that c_T is the c_t of the last time.
            gates.masked_fill_(~direction.exists[:, :, None, None], 0)
            gates[:, :, 1].masked_fill_(~direction.exists.unsqueeze(2), 1)
        scan_cells(gates, earlier, cells[times])
        earlier = cells[times.stop - 1]


def _clear_padding(direction: Direction, tensor: Float[Tensor, "time batch ..."]) -> None:
    exists = direction.exists
    if exists is not None:
        tensor.masked_fill_(~exists.view(*exists.shape, *[1] * (tensor.dim() - 2)), 0)


_CELLS: dict[str, Callable[[Direction, Rows], Iterator[Block]]] = {
    "rnn_tanh": partial(_elman, nonlinearity="tanh"),
    "rnn_relu": partial(_elman, nonlinearity="relu"),
    "gru": _gru,
    "lstm": _lstm,
}


def reconstruct(direction: Direction, rows: Rows) -> Iterator[Block]:
    """Go back through a call that a backward pass has just gone through, and fill `rows` on the way.

    Yields:
        Its blocks, the last times first. When they are used up, `rows` is zero wherever a sequence has no time.
    """
    rows.hidden_before[0] = direction.first_hidden()
    direction.copy_hidden(rows.hidden)
    for block in _CELLS[direction.kind](direction, rows):
        for gradient in (rows.total_gradient, rows.cell_gradient):
            if gradient is not None:
                _clear_padding(direction, gradient)
        yield block
    for state in (rows.hidden, rows.cell, *rows.gates.values()):
        if state is not None:
            _clear_padding(direction, state)

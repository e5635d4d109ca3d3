"""From a call and the gradients that came back to it, to the layer's whole trajectory: one function a cell."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.elman import Nonlinearity, activation_derivative
from gradscope.cells.gru import gru_preactivation_factors, recompute_gru
from gradscope.cells.lstm import lstm_preactivation_factors, recompute_lstm
from gradscope.dynamics.adjoint import elman_adjoint, gru_adjoint, lstm_adjoint
from gradscope.dynamics.weight_gradient import weight_gradient_norm
from gradscope.instrument.fused import Call, kind_of
from gradscope.instrument.graph import stack_gru_gates
from gradscope.instrument.trajectory import Trajectory

FLAT_TANH = 0.9
"""|tanh(u)| above this counts as saturated: its derivative is below 0.19."""


@dataclass(frozen=True, eq=False)
class _Pass:
    total_gradient: Tensor
    preactivation_gradient: Tensor
    flat: Tensor
    cell: Tensor | None = None
    cell_gradient: Tensor | None = None
    gates: Mapping[str, Tensor] = field(default_factory=dict)


States = Float[Tensor, "time_and_first batch hidden"]
Direct = Float[Tensor, "time batch hidden"]


def _elman(call: Call, states: States, direct: Direct, nonlinearity: Nonlinearity) -> _Pass:
    hidden = states[1:]
    derivative = activation_derivative(hidden, nonlinearity)
    flat = hidden.abs() > FLAT_TANH if nonlinearity == "tanh" else hidden <= 0
    total = call.total_gradient()
    if total is not None:
        return _Pass(total, total * derivative, flat)
    adjoint = elman_adjoint(direct, derivative, call.weights().recurrent)
    return _Pass(adjoint.hidden, adjoint.preactivation, flat)


def _rnn_tanh(call: Call, states: States, direct: Direct) -> _Pass:
    return _elman(call, states, direct, "tanh")


def _rnn_relu(call: Call, states: States, direct: Direct) -> _Pass:
    return _elman(call, states, direct, "relu")


def _gru(call: Call, states: States, direct: Direct) -> _Pass:
    before = states[:-1]
    saved = call.saved_gates
    times = recompute_gru(call.inputs(), before, call.weights()) if saved is None else stack_gru_gates(saved)
    factors = gru_preactivation_factors(times, before)
    total = call.total_gradient()
    if total is None:
        total, delta = gru_adjoint(direct, times, factors, call.weights().recurrent)
    else:
        delta = (total.unsqueeze(2) * factors).flatten(2)
    gates = {"reset": times.reset, "update": times.update}
    return _Pass(total, delta, times.candidate.abs() > FLAT_TANH, gates=gates)


def _lstm(call: Call, states: States, direct: Direct) -> _Pass:
    weights = call.weights()
    times = recompute_lstm(call.inputs(), states[:-1], call.first_cell(), weights)
    factors = lstm_preactivation_factors(times)
    adjoint = lstm_adjoint(direct, call.direct_last_cell(), times, factors, weights.recurrent)
    gates = dict(zip(("input", "forget", "output"), (times.gates[:, :, row] for row in (0, 1, 3)), strict=True))
    flat = times.tanh_cell.abs() > FLAT_TANH
    return _Pass(adjoint.hidden, adjoint.preactivation, flat, times.cell, adjoint.cell, gates)


_CELLS: dict[str, Callable[[Call, States, Direct], _Pass]] = {
    "rnn_tanh": _rnn_tanh,
    "rnn_relu": _rnn_relu,
    "gru": _gru,
    "lstm": _lstm,
}


@torch.no_grad()
def reconstruct(call: Call, *, layer: str, iteration: int, index: int, scale: Tensor | None = None) -> Trajectory:
    """Return the trajectory of the backward pass that has just gone through `call`.

    Args:
        call: the call, with the gradients of one backward pass.
        layer: the layer's name.
        iteration: the optimiser step.
        index: which call of the layer in that iteration.
        scale: loss scale of mixed-precision training, by which gradients are divided.

    Raises:
        Unrecordable: something that the forward pass saw has changed since.
    """
    call.check_unchanged()
    with torch.autocast(call.device.type, enabled=False):
        states, direct = call.states(), call.direct_gradient()
        done = _CELLS[kind_of(call.module)](call, states, direct)
        weight_norm = weight_gradient_norm(done.preactivation_gradient, states[:-1])
    total, cell_gradient = done.total_gradient, done.cell_gradient
    if scale is not None:
        total, direct, weight_norm = total / scale, direct / scale, weight_norm / scale
        cell_gradient = None if cell_gradient is None else cell_gradient / scale
    return Trajectory(
        layer=layer,
        iteration=iteration,
        call=index,
        hidden=states[1:],
        total_gradient=total,
        direct_gradient=direct,
        weight_gradient_norm=weight_norm,
        saturated=done.flat.to(total.dtype).mean((1, 2)),
        cell=done.cell,
        cell_gradient=cell_gradient,
        gates=done.gates,
    )

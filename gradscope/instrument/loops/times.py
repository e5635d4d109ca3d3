"""What happened at many times of one of PyTorch's cells, worked out in a few batched operations."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.elman import Nonlinearity, activation_derivative
from gradscope.cells.gru import gru_preactivation_factors, recompute_gru
from gradscope.cells.lstm import lstm_preactivation_factors, recompute_lstm_gates
from gradscope.cells.weights import LayerWeights
from gradscope.dynamics.weight_gradient import weight_gradient_norm
from gradscope.instrument.norms import vector_norm
from gradscope.instrument.summary import FLAT_TANH


@dataclass(frozen=True, eq=False)
class Given:
    """What is known of some times.

    Attributes:
        inputs: x_t.
        before: h_{t-1}, and c_{t-1} of an LSTM, as they were handed in.
        states: h_t, and c_t.
        gradients: dL/dh_t, and dL/dc_t.
        cell_is_complete: whether dL/dc_t holds what comes through h_t.
    """

    inputs: Float[Tensor, "time batch input"]
    before: tuple[Float[Tensor, "time batch _"], ...]
    states: tuple[Float[Tensor, "time batch _"], ...]
    gradients: tuple[Float[Tensor, "time batch _"], ...]
    cell_is_complete: bool

    def at(self, times: slice) -> "Given":
        """Return what is known of some of the times."""
        given = (self.before, self.states, self.gradients)
        before, states, gradients = (tuple(tensor[times] for tensor in tensors) for tensors in given)
        return Given(self.inputs[times], before, states, gradients, self.cell_is_complete)


@dataclass(frozen=True, eq=False)
class Times:
    """What was worked out of some times.

    Attributes:
        recurrent_part: what a_t sends into h_{t-1}.
        terms: how large the terms are that it is the sum of.
        weight_norm: norm of time t's term in dL/dW_hh.
        saturation: share of flat units.
        gates: name to activation.
        cell_gradient: dL/dc_t of an LSTM by every path.
    """

    recurrent_part: Float[Tensor, "time batch hidden"]
    terms: Float[Tensor, "time batch"]
    weight_norm: Float[Tensor, " time"]
    saturation: Float[Tensor, " time"]
    gates: Mapping[str, Float[Tensor, "time batch units"]] = field(default_factory=dict)
    cell_gradient: Float[Tensor, "time batch units"] | None = None

    @staticmethod
    def joined(parts: Sequence["Times"]) -> "Times":
        """Return consecutive times as one."""
        if len(parts) == 1:
            return parts[0]
        cells = [part.cell_gradient for part in parts if part.cell_gradient is not None]
        return Times(
            torch.cat([part.recurrent_part for part in parts]),
            torch.cat([part.terms for part in parts]),
            torch.cat([part.weight_norm for part in parts]),
            torch.cat([part.saturation for part in parts]),
            {name: torch.cat([part.gates[name] for part in parts]) for name in parts[0].gates},
            torch.cat(cells) if cells else None,
        )


def _elman(given: Given, weights: LayerWeights, nonlinearity: Nonlinearity) -> Times:
    (hidden,), (total,), (before,) = given.states, given.gradients, given.before
    delta = activation_derivative(hidden, nonlinearity, out=torch.empty_like(hidden))
    saturation = (delta < 1 - FLAT_TANH**2).to(hidden.dtype).mean((1, 2))
    delta.mul_(total)
    recurrent, terms = delta @ weights.recurrent, _terms(delta, weights)
    return Times(recurrent, terms, _weight_norm(delta, before, total), saturation)


def _gru(given: Given, weights: LayerWeights) -> Times:
    (total,), (before,) = given.gradients, given.before
    gates = recompute_gru(given.inputs, before, weights)
    delta = total.new_empty((*total.shape[:2], 3, total.shape[2]))
    gru_preactivation_factors(gates, before, out=delta)
    rows = delta.mul_(total.unsqueeze(2)).flatten(2)
    recurrent = torch.addcmul(rows @ weights.recurrent, gates.update, total)
    terms = _terms(rows, weights) + vector_norm(gates.update * total)
    named = {"reset": gates.reset, "update": gates.update}
    return Times(recurrent, terms, _weight_norm(rows, before, total), _saturation(gates.candidate), named)


def _lstm(given: Given, weights: LayerWeights) -> Times:
    (total, cell_total), (before, cell_before), (_, cell) = given.gradients, given.before, given.states
    gates = cell.new_empty((*cell.shape[:2], 4, cell.shape[2]))
    recompute_lstm_gates(given.inputs, before, weights, out=gates)
    tanh_cell = cell.tanh()
    unprojected = total if weights.projection is None else total @ weights.projection
    if not given.cell_is_complete:
        output_gate = gates[:, :, 3]
        cell_total = cell_total + unprojected * output_gate * (1 - tanh_cell.square())
    delta = torch.empty_like(gates)
    lstm_preactivation_factors(gates, cell_before, tanh_cell, out=delta)
    delta[:, :, :3].mul_(cell_total.unsqueeze(2))
    delta[:, :, 3].mul_(unprojected)
    rows = delta.flatten(2)
    recurrent, terms = rows @ weights.recurrent, _terms(rows, weights)
    named = {name: gates[:, :, row] for name, row in (("input", 0), ("forget", 1), ("output", 3))}
    norm = _weight_norm(rows, before, total, cell_total)
    return Times(recurrent, terms, norm, _saturation(tanh_cell), named, cell_total)


def _terms(rows: Float[Tensor, "time batch rows"], weights: LayerWeights) -> Float[Tensor, "time batch"]:
    # Of the products that W_hh^T delta_t sums, the root of the sum of squares: where they cancel, it is this, and not
    # their sum, that says how large the rounding is.
    return vector_norm(rows * weights.recurrent.norm(dim=1))


def _saturation(activation: Float[Tensor, "time batch hidden"]) -> Float[Tensor, " time"]:
    return (activation.abs() > FLAT_TANH).to(activation.dtype).mean((1, 2))


def _weight_norm(
    delta: Float[Tensor, "time batch rows"], before: Float[Tensor, "time batch hidden"], *totals: Tensor
) -> Float[Tensor, " time"]:
    largest = torch.stack([vector_norm(total).amax(1) for total in totals]).amax(0)
    return weight_gradient_norm(delta, before, largest)


TIMES: dict[str, Callable[[Given, LayerWeights], Times]] = {
    "rnn_tanh": partial(_elman, nonlinearity="tanh"),
    "rnn_relu": partial(_elman, nonlinearity="relu"),
    "gru": _gru,
    "lstm": _lstm,
}
"""Kind of cell -> how its times are worked out."""

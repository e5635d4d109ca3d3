"""Reading what oneDNN's LSTM leaves behind on CPU.

PyTorch's LSTM is one node of the autograd graph there, but what its forward pass keeps for the backward pass lies in
one piece of memory, which the backward pass goes on to write into: the gates, the cell states, and what goes from each
time back into the state before it. With these no time has to be computed a second time, and they are the training's
own numbers, to the bit.

The layout is that of oneDNN's `rnn_utils`. It is no promise: for each shape `agrees` compares a few times with the
equations of the cell, and where they do not hold the caller computes everything itself, to the same numbers.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.autograd.graph import Node

from gradscope.cells.lstm import lstm_preactivation_factors
from gradscope.dynamics.adjoint import lstm_state_adjoint
from gradscope.instrument.fused.graph import below, saving_is_redirected, sequence_node
from gradscope.instrument.fused.kernels import KernelArguments
from gradscope.instrument.fused.workspace import Workspace

_FLOATS_A_PAGE = 1024
_FLOATS_A_CACHE_LINE = 16
_ALIASED = 256
_LARGEST_KEPT_BLOCK = 32 * 2**20
_STATES_AGREE, _GRADIENTS_AGREE = 1e-4, 1e-3
"""Relative to the largest of a time: far above rounding, and far below what would stand in another place."""
_AGREED: set[tuple[int, ...]] = set()
"""Cases whose memory was seen to be laid out as it is read."""


def is_onednn(arguments: KernelArguments) -> bool:
    """Return whether PyTorch computes this call of an LSTM with oneDNN, in a form whose memory can be read."""
    hidden, *_ = states = arguments.initial
    projects = states[-1].shape[-1] != hidden.shape[-1]
    is_plain = arguments.batch_sizes is None and not projects and hidden.dtype == torch.float32
    return is_plain and hidden.device.type == "cpu" and torch._C._get_mkldnn_enabled()


def lstm_node(output: Tensor, direction: int, *, bidirectional: bool) -> Node | None:
    """Return the node that is one direction of an LSTM; None where it is not oneDNN's.

    Args:
        output: sequence of a single layer.
        direction: 0 for forwards, 1 for backwards.
        bidirectional: whether the output has both.
    """
    if output.dtype != torch.float32 or saving_is_redirected():
        return None
    node = sequence_node(output)
    if bidirectional:
        node = below(node, "CatBackward0", direction)
    return None if node is None or node.name() != "MkldnnRnnLayerBackward0" else node


def kept_memory(node: Node) -> UInt8[Tensor, " bytes"] | None:
    """Return the memory that an LSTM keeps for its backward pass; None where there is none.

    Must be called before the backward pass, after which the graph forgets it.
    """
    kept = getattr(node, "_saved_result3", None)
    # Detached: a tensor of its own, so that it can be told whether the graph still has its.
    return kept.detach() if isinstance(kept, Tensor) and kept.dtype == torch.uint8 else None


def comes_afresh(kept: UInt8[Tensor, " bytes"]) -> bool:
    """Return whether memory of this size is new at each forward pass, be the old one free or not.

    glibc maps blocks of more than 32 MB anew each time, and keeps none. To hold on to such a one costs nothing; to copy
    the half that is used takes a thirtieth of an iteration of an LSTM of 50 times, 64 sequences and 256 units.
    """
    return kept.nbytes > _LARGEST_KEPT_BLOCK


@dataclass(frozen=True, eq=False)
class KeptStates:
    """What that memory holds after a backward pass, in the order of processing.

    Attributes:
        case: what the layout may depend on.
        gates: i, f, g, o of every time, as activated.
        cells: c_t of every time but the last.
        hidden_gradient: W_hh^T delta_{t+1} of every time t but the last: what comes back to h_t from the next time.
        cell_gradient: f_{t+1} dL/dc_{t+1} of every time t but the last: what comes back to c_t.
    """

    case: tuple[int, ...]
    gates: Float[Tensor, "time batch 4 units"]
    cells: Float[Tensor, "earlier batch units"]
    hidden_gradient: Float[Tensor, "earlier batch units"]
    cell_gradient: Float[Tensor, "earlier batch units"]

    def copied(self, memory: Workspace) -> "KeptStates":
        """Return copies of one's own.

        Holding on to the memory itself would have the next forward pass get other pages in place of these, which costs
        more than copying the half that is used; unless it `comes_afresh` at any rate.
        """
        return KeptStates(
            case=self.case,
            gates=memory.copy("gates", self.gates),
            cells=memory.copy("cells", self.cells),
            hidden_gradient=memory.copy("hidden_gradient", self.hidden_gradient),
            cell_gradient=memory.copy("cell_gradient", self.cell_gradient),
        )

    @property
    def has_agreed(self) -> bool:
        """Whether memory of this layout was read before, and what was there agreed with an LSTM's equations."""
        return self.case in _AGREED


def read_kept(
    kept: UInt8[Tensor, " bytes"], shape: tuple[int, int, int], inputs: int, *, reverse: bool
) -> KeptStates | None:
    """Return what lies where in the memory that a layer kept; None if it cannot be so.

    Args:
        kept: from `kept_memory`.
        shape: (time, batch, units).
        inputs: size of x_t.
        reverse: whether the last time was processed first.
    """
    time, batch, units = shape
    if time == 1:
        return None  # Nothing would go from one time to another, and tell whether it is read in the right place.
    floats = kept.view(torch.float32)
    gate_row, state_row = _padded(4 * units), _padded(max(inputs, units))
    # Sections begin at whole pages. Those of states hold the layer's input and its output, times -1 to T - 1; the
    # last ones are cell states, gradients of outputs, of hidden states and of cell states.
    of_cells, of_states = (_pages(2 * (time + 1) * batch * row) for row in (units, state_row))
    cell_gradient = floats.numel() - of_cells
    hidden_gradient = cell_gradient - of_states
    cells = hidden_gradient - of_states - of_cells
    if cells < _pages(time * batch * gate_row):
        return None
    after_initial = (time + 2) * batch * units
    earlier = (time - 1, batch, units)
    return KeptStates(
        case=(*shape, inputs, reverse, torch.get_num_threads()),
        gates=floats.as_strided((time, batch, 4, units), (batch * gate_row, gate_row, units, 1)),
        cells=floats.as_strided(earlier, (batch * units, units, 1), cells + after_initial),
        hidden_gradient=floats.as_strided(
            earlier, (batch * state_row, state_row, 1), hidden_gradient + batch * state_row
        ),
        cell_gradient=floats.as_strided(earlier, (batch * units, units, 1), cell_gradient + batch * units),
    )


def agrees(
    kept: KeptStates,
    hidden: Float[Tensor, "time batch units"],
    cell: Float[Tensor, "time batch units"],
    total: Float[Tensor, "time batch units"],
    back: Float[Tensor, "time batch units"],
    recurrent: Float[Tensor, "rows units"],
) -> bool:
    """Return whether an LSTM's equations hold between what was read and what is known, at a few times.

    Args:
        kept: as read.
        hidden: h_t, as the layer returned it.
        cell: c_t, of which the last was computed.
        total: a_t, made with what was read.
        back: what comes back to c_t from the next time, or directly from the loss at the end.
        recurrent: W_hh.
    """
    last = len(hidden) - 1
    times = torch.tensor(sorted({0, last // 2, max(0, last - 2), last - 1}))
    after = times + 1
    before, now, gates = cell[times], cell[after], kept.gates[after]
    tanh_cell, delta, cell_gradient = now.tanh(), torch.empty_like(gates), back[after]
    lstm_preactivation_factors(gates, before, tanh_cell, out=delta)
    lstm_state_adjoint(total[after], gates, tanh_cell, delta, cell_gradient)
    input_gate, forget_gate, candidate, output_gate = gates.unbind(2)
    agrees = (
        _close(hidden[after], output_gate * tanh_cell, _STATES_AGREE)
        and _close(now, input_gate * candidate + forget_gate * before, _STATES_AGREE)
        and _close(kept.hidden_gradient[times], delta.flatten(2) @ recurrent, _GRADIENTS_AGREE)
        and _close(kept.cell_gradient[times], forget_gate * cell_gradient, _GRADIENTS_AGREE)
    )
    if agrees and kept.hidden_gradient[-1].any():  # Zeros would agree wherever they were read.
        _AGREED.add(kept.case)
    return agrees


def _close(found: Float[Tensor, "time batch units"], computed: Float[Tensor, "time batch units"], share: float) -> bool:
    """Return whether both are the same beside the largest of each time; False where something is not finite."""
    difference, size = (found - computed).abs().amax((1, 2)), computed.abs().amax((1, 2))
    # Below the normal numbers nothing has digits that could agree.
    return bool((difference <= share * size + 4 * found.shape[2] * torch.finfo(found.dtype).tiny).all())


def _padded(size: int) -> int:
    """Return how far rows lie apart: whole cache lines, but no multiple of 256, whose addresses would collide."""
    row = -(-size // _FLOATS_A_CACHE_LINE) * _FLOATS_A_CACHE_LINE
    return row + _FLOATS_A_CACHE_LINE if row % _ALIASED == 0 else row


def _pages(floats: int) -> int:
    return -(-floats // _FLOATS_A_PAGE) * _FLOATS_A_PAGE

"""One direction of one layer in one call, its sequence in the order of processing: time 0 is what it read first.

Packed sequences are padded. A sequence that runs forwards is padded at its end, one that runs backwards before its
beginning, where the state stands still.
"""

from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from gradscope.cells.weights import LayerWeights, layer_weights
from gradscope.instrument.fused.direct_gradient import DirectGradient, in_order
from gradscope.instrument.fused.kernels import KernelArguments
from gradscope.instrument.fused.layouts import Layout
from gradscope.instrument.fused.onednn import KeptStates, comes_afresh, read_kept
from gradscope.instrument.fused.ownership import nobody_else_holds
from gradscope.instrument.fused.workspace import Workspace

if TYPE_CHECKING:
    from gradscope.instrument.fused.graph import SavedGates

_RECURRENT, _RECURRENT_BIAS = 1, 3
"""Positions of W_hh and b_hh among the weights that a fused function is given."""
_OF_THE_CALL = 1
"""A `KernelCall` refers to the output once, for both directions."""


class Direction:
    """What went into one direction, what came out, and the gradients that came back.

    Args:
        arguments: of the single-layer call.
        index: 0 for forwards, 1 for backwards.
        output: output sequence of the call, both directions side by side.
        layout: of its sequences.

    Attributes:
        kind: lstm, gru, rnn_tanh or rnn_relu.
        reverse: whether it reads from the last time to the first.
        shape: (time, batch, state); the state of an LSTM with a projection is smaller than its cell.
        units: size of the cell, and of each gate.
        dtype: what to compute in: the layer's own dtype, but never below float32.
        device: where the layer computes.
        layout: of its sequences.
        arrived: gradients of both directions that a backward pass brought, by their position among the output and the
            final states; what is missing is zero.
        columns: its part of the output.
        recurrent: gradient of the zeros that were appended to the input, as the function lays them out: at each time,
            what goes from it back into the state before; None where there are none.
        projected: gradient of W_ih x_t + b_ih, time-major or the rows of a packed sequence; None where it was not seen.
        saved_gates: what a GRU's forward pass saved, in the order of processing; None where it was not read.
        kept: memory that oneDNN's LSTM keeps for its backward pass; None where it is not seen.
        has_written: whether the newest backward pass went through oneDNN's LSTM, and so wrote there.
        left: what the backward pass left there, once it was taken over.
    """

    def __init__(self, arguments: KernelArguments, index: int, output: Tensor, layout: Layout) -> None:
        self.kind, self.reverse, self.layout = arguments.kind, index == 1, layout
        size = output.shape[-1] // arguments.directions
        self.columns = columns = slice(index * size, (index + 1) * size)
        self._kernel_dtype = output.dtype
        self.dtype = torch.promote_types(output.dtype, torch.float32)
        self.device = output.device
        self._sequence = arguments.sequence.detach()
        # Detached again: a part of a tensor would hold on to that tensor as well.
        self._hidden = layout.by_time(output.detach()[..., columns]).detach()
        self._references = arguments.directions
        time, batch, _ = self._hidden.shape
        self.shape = (time, batch, size)
        self.units = arguments.initial[-1].shape[-1]
        self._initial = tuple(state[index].detach() for state in arguments.initial)
        self._weights = {position: weight.detach() for position, weight in enumerate(arguments.weights_of(index))}
        self._has_biases = arguments.has_biases
        self._index = index
        self.arrived: dict[int, Tensor] = {}
        self.recurrent: Tensor | None = None
        self.projected: Tensor | None = None
        self.saved_gates: SavedGates | None = None
        self.kept: UInt8[Tensor, " bytes"] | None = None
        self.has_written = False
        self.left: KeptStates | None = None

    @property
    def hidden(self) -> Float[Tensor, "time batch hidden"]:
        """Return h_t in the order of times, as the layer computed it; zero where a sequence has ended."""
        return self._hidden

    @property
    def is_bounded(self) -> bool:
        """Return whether h_t can be NaN and never infinite: then it is NaN from there on, up to the last time."""
        return self.kind != "rnn_relu" and self.shape[2] == self.units

    @property
    def given(self) -> tuple[Tensor, ...]:
        """Return what the function was given: whatever is changed in place there is so here."""
        return (self._sequence, *self._initial, *self._weights.values())

    @property
    def direct(self) -> DirectGradient:
        """Return what a backward pass brought to the output and the final states."""
        return DirectGradient(
            self.layout,
            self.columns,
            self._index,
            self.shape,
            self.units,
            self.dtype,
            self.device,
            self.reverse,
            self.arrived,
        )

    def _rounded(self, tensor: Tensor) -> Tensor:
        # Under autocast the kernel computed with rounded copies of what it was handed.
        return tensor.to(self._kernel_dtype).to(self.dtype)

    def forget_gradients(self) -> None:
        """Make ready for another backward pass; whoever took those of this one over keeps them."""
        self.recurrent = self.projected = None
        self.arrived, self.has_written = {}, False

    @property
    def exists(self) -> Bool[Tensor, "time batch"] | None:
        """Return which (time, batch) there are; None where all are."""
        exists = self.layout.exists
        return exists if exists is None or not self.reverse else exists.flip(0)

    def weights(self) -> LayerWeights:
        """Return the weights in the computing dtype."""
        rounded = [self._rounded(weight) for weight in self._weights.values()]
        return layer_weights(rounded, has_biases=self._has_biases)

    def recurrent_weight(self) -> Float[Tensor, "rows hidden"]:
        """Return W_hh in the computing dtype."""
        return self._rounded(self._weights[_RECURRENT])

    def recurrent_bias(self) -> Float[Tensor, " rows"]:
        """Return b_hh in the computing dtype, zeros where there are no biases."""
        if self._has_biases:
            return self._rounded(self._weights[_RECURRENT_BIAS])
        recurrent = self.recurrent_weight()
        return recurrent.new_zeros(len(recurrent))

    @property
    def rounding(self) -> float:
        """Return how far 1 is from the next number that the training computes with."""
        return torch.finfo(self._kernel_dtype).eps

    def inputs(self, times: slice) -> Float[Tensor, "time batch input"]:
        """Return x_t of some times."""
        return self._rounded(in_order(self.layout.by_time(self._sequence), times, reverse=self.reverse))

    def copy_hidden(self, out: Float[Tensor, "time batch hidden"]) -> None:
        """Write h_t into `out`; before its beginning, where a sequence is padded there, the initial state."""
        out.copy_(self._hidden.flip(0) if self.reverse else self._hidden)
        exists = self.exists
        if exists is not None and self.reverse:
            out.copy_(torch.where(exists.unsqueeze(2), out, self.first_hidden()))

    def first_hidden(self) -> Float[Tensor, "batch hidden"]:
        """Return h_{-1}."""
        return self._rounded(self._initial[0])

    def first_cell(self) -> Float[Tensor, "batch units"]:
        """Return c_{-1} of an LSTM."""
        return self._rounded(self._initial[1])

    def projected_at(self, times: slice) -> Float[Tensor, "time batch rows"]:
        """Return the gradient of W_ih x_t + b_ih of some times; of all, if the sequence is packed."""
        assert self.projected is not None
        # Time-major, whatever the input's layout is.
        projected = self.projected if self.exists is None else self.layout.by_time(self.projected)
        return in_order(projected, times, reverse=self.reverse).to(self.dtype)

    def sent_back(self, times: slice) -> Float[Tensor, "later batch hidden"]:
        """Return what comes back to h_t of some times from the next one; nothing comes to the last time of all.

        `times` are all, if the sequence is packed.
        """
        assert self.recurrent is not None
        after = slice(times.start + 1, min(times.stop + 1, self.shape[0]))
        return in_order(self.layout.by_time(self.recurrent), after, reverse=self.reverse).to(self.dtype)

    def total_from_zeros(self, times: slice) -> Float[Tensor, "time batch hidden"]:
        """Return a_t of some times: what enters directly, and what comes back from the next time.

        `times` are all, if the sequence is packed.
        """
        total, back = self.direct.at(times).clone(), self.sent_back(times)
        total[: len(back)] += back
        return total

    def taken_over(self, memory: Workspace) -> "Direction":
        """Return one of its own, of which training will change nothing any more; this one has no gradients then."""
        own = Direction.__new__(Direction)  # By `copy` it takes as long as the rest of this.
        own.__dict__.update(self.__dict__)
        own._hidden = _taken("hidden", self._hidden, memory, self._references + _OF_THE_CALL)
        own._initial = tuple(
            _taken(f"initial{number}", state, memory, self._references) for number, state in enumerate(self._initial)
        )
        own.left, own.kept = self._left(memory), None
        if self.projected is not None and (self.kind != "gru" or self.saved_gates is not None):
            recurrent = (_RECURRENT, _RECURRENT_BIAS) if self._has_biases else (_RECURRENT,)
            needed = {position: self._weights[position] for position in recurrent}
        elif own.left is not None and own.left.has_agreed:
            needed = {}
        else:
            needed = self._weights
            own._sequence = memory.copy("sequence", self._sequence)
        own._weights = {position: memory.copy(f"weight{position}", weight) for position, weight in needed.items()}
        own.arrived = {
            position: _taken(f"arrived{position}", gradient, memory, self._references)
            for position, gradient in self.arrived.items()
        }
        own.recurrent = None if self.recurrent is None else memory.copy("recurrent", self.recurrent)
        # These were made by autograd, for the next node alone: nobody else has them.
        self.projected = self.saved_gates = None
        return own

    def _left(self, memory: Workspace) -> KeptStates | None:
        kept = self.kept
        if kept is None or not self.has_written:
            return None
        is_ours = nobody_else_holds(kept, references=1)
        if is_ours:
            self.kept = None  # The graph has gone: no other backward pass can come.
        left = read_kept(kept, self.shape, self._sequence.shape[-1], reverse=self.reverse)
        return left if left is None or (is_ours and comes_afresh(kept)) else left.copied(memory)

    def drop_graph(self) -> None:
        """Hold nothing of the autograd graph any more."""
        self.recurrent = self.projected = self.saved_gates = self.kept = None

    def drop(self) -> None:
        """Hold nothing of the forward pass any more."""
        self.drop_graph()
        self.arrived = {}
        self._sequence = self._hidden = self._sequence.new_empty(0)
        self._initial, self._weights = (), {}


def _taken(name: str, tensor: Tensor, memory: Workspace, references: int) -> Tensor:
    return tensor if nobody_else_holds(tensor, references=references) else memory.copy(name, tensor)

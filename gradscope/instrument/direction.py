"""One direction of one layer in one call, its sequence in the order of processing: time 0 is what it read first.

Packed sequences are padded. A sequence that runs forwards is padded at its end, one that runs backwards before its
beginning, where the state stands still.
"""

from copy import copy
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gradscope.cells.weights import LayerWeights, layer_weights
from gradscope.instrument.direct_gradient import DirectGradient, in_order
from gradscope.instrument.kernels import KernelArguments
from gradscope.instrument.layouts import Layout
from gradscope.instrument.workspace import Workspace

if TYPE_CHECKING:
    from gradscope.instrument.graph import SavedGates


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
        direct: what a backward pass brought to the output and the final states.
        per_time: gradients of the nodes of each time, the time that was processed last first.
        columns: its part of the output.
        recurrent: gradient of the zeros that were appended to the input, as the function lays them out: at each time,
            what goes from it back into the state before; None where there are none.
        saved_gates: what a GRU's forward pass saved, in the order of processing, where it could be read.
    """

    def __init__(self, arguments: KernelArguments, index: int, output: Tensor, layout: Layout) -> None:
        self.kind, self.reverse, self.layout = arguments.kind, index == 1, layout
        size = output.shape[-1] // arguments.directions
        self.columns = columns = slice(index * size, (index + 1) * size)
        self._kernel_dtype = output.dtype
        self.dtype = torch.promote_types(output.dtype, torch.float32)
        self.device = output.device
        self._sequence = arguments.sequence.detach()
        self._hidden = layout.by_time(output.detach()[..., columns])
        time, batch, _ = self._hidden.shape
        self.shape = (time, batch, size)
        self.units = arguments.initial[-1].shape[-1]
        self._initial = tuple(state[index].detach() for state in arguments.initial)
        self._weights = tuple(weight.detach() for weight in arguments.weights_of(index))
        self._has_biases = arguments.has_biases
        self.direct = DirectGradient(
            layout, columns, index, self.shape, self.units, self.dtype, self.device, self.reverse
        )
        self.per_time: list[Tensor | None] = []
        self.recurrent: Tensor | None = None
        self.saved_gates: SavedGates | None = None

    @property
    def hidden(self) -> Float[Tensor, "time batch hidden"]:
        """Return h_t in the order of times, as the layer computed it; zero where a sequence has ended."""
        return self._hidden

    def _rounded(self, tensor: Tensor) -> Tensor:
        # Under autocast the kernel computed with rounded copies of what it was handed.
        return tensor.to(self._kernel_dtype).to(self.dtype)

    def forget_gradients(self) -> None:
        """Make ready for another backward pass; whoever has `direct` of this one keeps it."""
        self.per_time.clear()
        self.recurrent = None
        self.direct = replace(self.direct, arrived={})

    @property
    def exists(self) -> Bool[Tensor, "time batch"] | None:
        """Return which (time, batch) there are; None where all are."""
        exists = self.layout.exists
        return exists if exists is None or not self.reverse else exists.flip(0)

    def weights(self) -> LayerWeights:
        """Return the weights in the computing dtype."""
        return layer_weights([self._rounded(weight) for weight in self._weights], has_biases=self._has_biases)

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

    def gradients_per_time(self) -> list[Tensor] | None:
        """Return a_t of each time as the backward pass itself had it, or None where no node stood for each time."""
        gradients = [gradient for gradient in reversed(self.per_time) if gradient is not None]
        return gradients if len(gradients) == self.shape[0] else None

    def total_from_zeros(self, times: slice) -> Float[Tensor, "time batch hidden"]:
        """Return a_t of some times: what enters directly, and what comes back from the next time.

        `times` are all, if the sequence is packed.
        """
        assert self.recurrent is not None
        after = slice(times.start + 1, min(times.stop + 1, self.shape[0]))
        total = self.direct.at(times).clone()
        back = in_order(self.layout.by_time(self.recurrent), after, reverse=self.reverse).to(self.dtype)
        total[: len(back)] += back
        return total

    def stack(self, per_time: list[Tensor], out: Float[Tensor, "time batch hidden"]) -> None:
        """Write tensors of consecutive times into `out`; of all times, if the sequence is packed."""
        if self.reverse and self.layout.exists is not None:
            self.layout.stack(per_time[::-1], out)
            out.copy_(out.flip(0))
        else:
            self.layout.stack(per_time, out)

    def taken_over(self, memory: Workspace) -> "Direction":
        """Return one of its own, of which training will change nothing any more; this one has no gradients then."""

        def copied(name: str, tensor: Tensor) -> Tensor:
            return memory.take(name, tuple(tensor.shape), tensor.dtype, tensor.device).copy_(tensor)

        own = copy(self)
        own._hidden = copied("hidden", self._hidden)
        own._initial = tuple(copied(f"initial{number}", state) for number, state in enumerate(self._initial))
        if not self._is_complete:
            own._sequence = copied("sequence", self._sequence)
            own._weights = tuple(copied(f"weight{number}", weight) for number, weight in enumerate(self._weights))
        arrived = {position: copied(f"arrived{position}", one) for position, one in self.direct.arrived.items()}
        own.direct = replace(self.direct, arrived=arrived)
        own.recurrent = None if self.recurrent is None else copied("recurrent", self.recurrent)
        # What autograd made for each time is nobody else's, but for the first: that may be a view of what arrived.
        first = [None if gradient is None else gradient.clone() for gradient in self.per_time[:1]]
        own.per_time = [*first, *self.per_time[1:]]
        self.per_time.clear()
        return own

    @property
    def _is_complete(self) -> bool:
        """Whether nothing has to be computed from the input and the weights."""
        return self.gradients_per_time() is not None and (self.kind.startswith("rnn") or self.saved_gates is not None)

    def drop_graph(self) -> None:
        """Hold nothing of the autograd graph any more."""
        self.per_time.clear()
        self.recurrent = self.saved_gates = None

    def drop(self) -> None:
        """Hold nothing of the forward pass any more."""
        self.drop_graph()
        self._sequence = self._hidden = self._sequence.new_empty(0)
        self._initial = self._weights = ()

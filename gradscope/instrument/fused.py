"""One call of nn.RNN, nn.GRU or nn.LSTM: what went in, what came out, and the gradients that came back.

Nothing is computed while the forward pass runs. A `Call` keeps references and puts pre-hooks on nodes of the autograd
graph: on nodes and not on tensors, because those run last, after any hook of the user's own that rewrites a gradient.
A call never refers to a node: nodes refer to the call, so that it dies with the graph.
"""

from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.weights import LayerWeights, layer_weights
from gradscope.instrument.graph import SavedGates, nodes_per_time, saved_gru_gates

FUSED = (nn.RNN, nn.GRU, nn.LSTM)


class Unrecordable(Exception):  # noqa: N818 - no error of the program: the training did what cannot be recorded
    """This pass cannot be recorded exactly; the message says why. It never reaches the training loop."""


def refusal(module: nn.RNNBase) -> str | None:
    """Return why `module` cannot be watched, or None if it can."""
    if module.num_layers > 1:
        return f"it stacks {module.num_layers} layers; what works is one layer a module"
    if module.bidirectional:
        return "it is bidirectional; what works is one direction"
    if module.proj_size:
        return "it has a proj_size; what works is none"
    return None


def kind_of(module: nn.RNNBase) -> str:
    """Return the name of the cell: rnn_tanh, rnn_relu, gru or lstm."""
    return module.mode.lower()


class Call:
    """One forward call of a single-layer module in a recorded iteration, and what its backward pass brings.

    Args:
        module: the module that was called.
        inputs: its first argument.
        initial: the initial state that it was given, if any.
        output: its output sequence.
        final: h_n, and c_n for an LSTM.
        arrived: called with this call whenever a backward pass reaches it.
    """

    def __init__(
        self,
        module: nn.RNNBase,
        inputs: Tensor,
        initial: tuple[Tensor, ...],
        output: Tensor,
        final: tuple[Tensor, ...],
        arrived: Callable[["Call"], None],
    ) -> None:
        self.module = module
        self._batch_axis = None if output.dim() == 2 else 0 if module.batch_first else 1
        self._inputs = inputs.detach()
        self._output = output.detach()
        self._initial = tuple(state.detach() for state in initial)
        used = (self._inputs, self._output, *self._initial, *module.parameters())
        self._versions = [(tensor, tensor._version) for tensor in used]
        self._arrived = arrived
        self._direct: dict[int, Tensor] = {}
        self._per_time: list[tuple[Tensor | None, ...]] = []
        self.saved_gates: SavedGates | None = None
        self._hook(output, final)

    def _hook(self, output: Tensor, final: tuple[Tensor, ...]) -> None:
        for position, tensor in enumerate((output, *final)):
            if tensor.grad_fn is not None:
                tensor.grad_fn.register_prehook(partial(self._receive, position, tensor.output_nr))
        nodes = nodes_per_time(output, self._by_time(self._output).shape[0])
        if nodes is None:
            return
        for node in nodes:
            # Called from C++ without a Python frame; the backward pass comes from the last time to the first.
            node.register_prehook(self._per_time.append)
        if self.module.mode == "GRU":
            self.saved_gates = saved_gru_gates(nodes)

    def _receive(self, position: int, output_number: int, gradients: tuple[Tensor | None, ...]) -> None:
        gradient = gradients[output_number]
        if gradient is not None:
            self._direct[position] = gradient
        self._arrived(self)

    def forget_backward(self) -> None:
        """Drop the gradients, so that another backward pass through the same graph starts anew."""
        self._direct.clear()
        self._per_time.clear()

    def check_unchanged(self) -> None:
        """Make sure that everything the forward pass saw still has the values that it saw.

        Raises:
            Unrecordable: something was changed in place.
        """
        if any(tensor._version != version for tensor, version in self._versions):
            raise Unrecordable(
                "the layer's input, output or weights were changed in place between the forward pass and the end of "
                "the backward pass"
            )

    def _by_time(self, tensor: Tensor) -> Tensor:
        if self._batch_axis is None:
            return tensor.unsqueeze(1)
        return tensor.transpose(0, 1) if self._batch_axis == 0 else tensor

    @property
    def dtype(self) -> torch.dtype:
        """The dtype to compute in: the layer's own, but never below float32."""
        return torch.promote_types(self._output.dtype, torch.float32)

    @property
    def device(self) -> torch.device:
        """Where the layer computes."""
        return self._output.device

    def weights(self) -> LayerWeights:
        """Return the layer's weights in the computing dtype."""
        return layer_weights(self.module, self.dtype)

    def inputs(self) -> Float[Tensor, "time batch input"]:
        """Return x_t."""
        return self._by_time(self._inputs).to(self.dtype)

    def states(self) -> Float[Tensor, "time_and_first batch hidden"]:
        """Return a copy of h_{-1}, h_0, .. h_{T-1}: the first row is the initial state."""
        hidden = self._by_time(self._output)
        states = hidden.new_empty((hidden.shape[0] + 1, *hidden.shape[1:]), dtype=self.dtype)
        states[1:] = hidden
        states[0] = self._initial_state(0)
        return states

    def first_cell(self) -> Float[Tensor, "batch hidden"]:
        """Return c_{-1} of an LSTM."""
        hidden = self._by_time(self._output)
        return self._initial_state(1).to(self.dtype).expand_as(hidden[0])

    def _initial_state(self, position: int) -> Tensor:
        # (1, batch, hidden), or (1, hidden) for unbatched input: both broadcast over what they are copied into.
        return self._initial[position][0] if self._initial else self._output.new_zeros(())

    def direct_gradient(self) -> Float[Tensor, "time batch hidden"]:
        """Return e_t: what reached the output sequence itself, and h_n at the last time."""
        shape = self._by_time(self._output).shape
        direct = torch.zeros(shape, dtype=self.dtype, device=self._output.device)
        if 0 in self._direct:
            direct += self._by_time(self._direct[0])
        if 1 in self._direct:
            direct[-1] += self._direct[1][0]
        return direct

    def direct_last_cell(self) -> Float[Tensor, "batch hidden"]:
        """Return what reached c_n of an LSTM directly."""
        direct = torch.zeros_like(self.first_cell(), memory_format=torch.contiguous_format)
        if 2 in self._direct:
            direct += self._direct[2][0]
        return direct

    def total_gradient(self) -> Float[Tensor, "time batch hidden"] | None:
        """Return a_t as the backward pass itself had it, or None where the graph has no node for each time."""
        gradients = [gradient for (gradient, *_) in reversed(self._per_time) if gradient is not None]
        if len(gradients) != self._by_time(self._output).shape[0]:
            return None
        return torch.stack(gradients).to(self.dtype)

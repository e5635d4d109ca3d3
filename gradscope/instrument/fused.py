"""One call of nn.RNN, nn.GRU or nn.LSTM: what went in, what came out, and the gradients that came back.

Nothing is computed while the forward pass runs. A `Call` keeps references and puts pre-hooks on nodes of the autograd
graph: on nodes and not on tensors, because those run last, after any hook of the user's own that rewrites a gradient.
A call never refers to a node: nodes refer to the call, so that it dies with the graph.
"""

import itertools
from collections.abc import Callable
from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.weights import LayerWeights, layer_weights
from gradscope.instrument.graph import SavedGates, nodes_per_time, saved_gru_gates

FUSED = (nn.RNN, nn.GRU, nn.LSTM)


_ORDER = itertools.count()


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

    Attributes:
        module: the module that was called.
        order: calls count up, over all modules.
        shape: (time, batch, hidden).
        dtype: what to compute in: the layer's own dtype, but never below float32.
        device: where the layer computes.
        saved_gates: what a GRU's forward pass saved, where it could be read.
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
        self._output = self._by_time(output.detach())
        time, batch, hidden = self._output.shape
        self.shape = (time, batch, hidden)
        self.dtype = torch.promote_types(output.dtype, torch.float32)
        self.device = output.device
        self._initial = tuple(state.detach() for state in initial)
        # The very tensors that the kernel was given: reading a parametrized weight anew could give other values, and
        # for spectral_norm would even change them.
        self._weights = tuple(weight.detach() for weight in module._flat_weights if weight is not None)
        used = (self._inputs, self._output, *self._initial, *self._weights)
        self._versions = [(tensor, tensor._version) for tensor in used]
        self.order = next(_ORDER)
        self._arrived = arrived
        self._direct: dict[int, Tensor] = {}
        self._task: int | None = None
        self._dropped = False
        self._per_time: list[tuple[Tensor | None, ...]] = []
        self.saved_gates: SavedGates | None = None
        self._hook(output, final)

    def _hook(self, output: Tensor, final: tuple[Tensor, ...]) -> None:
        for position, tensor in enumerate((output, *final)):
            if tensor.grad_fn is not None:
                tensor.grad_fn.register_prehook(partial(self._receive, position, tensor.output_nr))
        nodes = nodes_per_time(output, self.shape[0])
        if nodes is None:
            return
        for node in nodes:
            # Called from C++ without a Python frame; the backward pass comes from the last time to the first.
            node.register_prehook(self._per_time.append)
        if self.module.mode == "GRU":
            self.saved_gates = saved_gru_gates(nodes)

    def _receive(self, position: int, output_number: int, gradients: tuple[Tensor | None, ...]) -> None:
        if self._dropped:
            self._per_time.clear()
            return
        task = torch._C._current_graph_task_id()
        if task != self._task:  # Another backward pass through the same graph, or a second try after one broke off.
            self._task, self._direct = task, {}
            self._per_time.clear()
        gradient = gradients[output_number]
        if gradient is not None:
            self._direct[position] = gradient.detach()
        self._arrived(self)

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

    def weights(self) -> LayerWeights:
        """Return the layer's weights in the computing dtype."""
        return layer_weights(self._weights, self.dtype)

    def inputs(self, times: slice) -> Float[Tensor, "time batch input"]:
        """Return x_t of some times."""
        return self._by_time(self._inputs)[times].to(self.dtype)

    def hidden(self) -> Float[Tensor, "time batch hidden"]:
        """Return h_t, in the layer's own dtype."""
        return self._output

    def first_hidden(self) -> Float[Tensor, "batch hidden"]:
        """Return h_{-1}."""
        return self._initial_state(0)

    def first_cell(self) -> Float[Tensor, "batch hidden"]:
        """Return c_{-1} of an LSTM."""
        return self._initial_state(1).to(self.dtype)

    def _initial_state(self, position: int) -> Tensor:
        _, batch, hidden = self.shape
        if not self._initial:
            return self._output.new_zeros((batch, hidden))
        return self._initial[position].reshape(batch, hidden)  # (1, batch, hidden), or (1, hidden) for unbatched input

    def direct_gradient(self, times: slice) -> Float[Tensor, "time batch hidden"]:
        """Return e_t of some times: what reached the output sequence itself, and h_n at the last time."""
        last, batch, hidden = self.shape
        if 0 in self._direct:
            direct = self._by_time(self._direct[0])[times].to(self.dtype)
        else:
            direct = torch.zeros((times.stop - times.start, batch, hidden), dtype=self.dtype, device=self.device)
        if 1 in self._direct and times.stop == last:
            direct = direct.clone()
            direct[-1] += self._direct[1].reshape(batch, hidden)
        return direct

    def direct_last_cell(self) -> Float[Tensor, "batch hidden"]:
        """Return what reached c_n of an LSTM directly."""
        _, batch, hidden = self.shape
        if 2 not in self._direct:
            return torch.zeros((batch, hidden), dtype=self.dtype, device=self.device)
        return self._direct[2].reshape(batch, hidden).to(self.dtype)

    def gradients_per_time(self) -> list[Tensor] | None:
        """Return a_t of each time as the backward pass itself had it, or None where no node stood for each time."""
        gradients = [gradient for (gradient, *_) in reversed(self._per_time) if gradient is not None]
        return gradients if len(gradients) == self.shape[0] else None

    def release(self) -> None:
        """Let go of what would keep the graph alive; `direct_gradient` stays until another backward pass comes."""
        self._per_time.clear()
        self.saved_gates = None

    def drop(self, *, keep_direct: bool) -> None:
        """Hold nothing any more: a user who keeps a loss keeps its graph, and with it this call.

        Args:
            keep_direct: keep what `direct_gradient` needs.
        """
        self.release()
        self._dropped, self._arrived = True, _ignore
        self._inputs, self._initial, self._weights, self._versions = self._output[:0], (), (), []
        if not keep_direct:
            self._output, self._direct = self._output[:0].clone(), {}


def _ignore(_: Call) -> None:
    pass

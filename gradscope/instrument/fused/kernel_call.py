"""One call of a fused function for a single layer: what went in, what came out, and the gradients that came back.

Nothing is computed while the forward pass runs. A `KernelCall` keeps references and puts pre-hooks on nodes of the
autograd graph: on nodes and not on tensors, because those run last, after any hook of the user's own that rewrites a
gradient. A call never refers to a node: nodes refer to the call, so that it dies with the graph.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from jaxtyping import Int
from torch import Tensor

from gradscope.instrument.backward_passes import SECOND_ORDER, BackwardPasses
from gradscope.instrument.fused.direction import Direction
from gradscope.instrument.fused.graph import projection_node, saved_gru_gates
from gradscope.instrument.fused.kernels import KernelArguments
from gradscope.instrument.fused.layouts import Dense, Layout, Packed
from gradscope.instrument.fused.onednn import comes_afresh, kept_memory, lstm_node
from gradscope.instrument.fused.rows import Rows
from gradscope.instrument.fused.summarising import summarise
from gradscope.instrument.fused.workspace import Workspace
from gradscope.instrument.source import ORDER, LayerPass, Listener, Unrecordable, Work
from gradscope.instrument.trajectory import Trajectory
from gradscope.instrument.transformed import BATCHED

_MANY_ELEMENTS = 8192
"""Of an output: below, a thread costs more to wake than it saves."""
_TENSORS_HELD = 4
_MANY_OPERATIONS = 1_000_000


@dataclass(frozen=True, eq=False)
class Layer:
    """One layer and direction of a module.

    Attributes:
        name: module path and PyTorch's suffix.
        workspace: memory for what is worked out of its newest pass.
        copies: memory for what passes take from the training, of which one is in use until the next pass is worked out.
        spare: those of `copies` that are free.
    """

    name: str
    workspace: Workspace = field(default_factory=Workspace)
    copies: list[Workspace] = field(default_factory=list)
    spare: list[Workspace] = field(default_factory=list)

    def free_memory(self) -> Workspace:
        """Return memory for the copies of one pass."""
        return self.spare.pop() if self.spare else Workspace()

    def hold(self, memory: Workspace) -> None:
        """Keep the copies of the newest pass, and let those of the one before it be written over."""
        self.spare.extend(self.copies)
        self.copies[:] = [memory]


class KernelCall:
    """A forward call of one layer in a recorded iteration, in one direction or two.

    Args:
        layers: one for each direction.
        arguments: what the fused function was given.
        output: its output sequence.
        final: h_n, and c_n for an LSTM.
        zeros: that were appended to its input; None if there are none.
        order_of_user: where each sequence of the user's batch is in the function's; None for the same order.
        listener: is told when a backward pass arrives.

    Attributes:
        name: of the layer, forwards.
        order: calls count up, over all sources.
        size: about how many bytes its passes hold until they are worked out; None if that is not worth a thread.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        arguments: KernelArguments,
        output: Tensor,
        final: tuple[Tensor, ...],
        zeros: Tensor | None,
        order_of_user: Int[Tensor, " batch"] | None,
        listener: Listener,
    ) -> None:
        self.name, self.order = layers[0].name, next(ORDER)
        self._layers, self._order_of_user = layers, order_of_user
        self._listener: Listener | None = listener
        layout: Layout
        if arguments.batch_sizes is None:
            layout = Dense(batch_first=arguments.batch_first)
        else:
            layout = Packed(arguments.batch_sizes, output.device)
        self._directions = [Direction(arguments, index, output, layout) for index in range(arguments.directions)]
        used = (output.detach(), *(tensor for direction in self._directions for tensor in direction.given))
        self._versions = [(tensor, tensor._version) for tensor in used]
        self._passes = BackwardPasses()
        self._hook(arguments, output, final)
        if zeros is not None:
            zeros.register_hook(self._receive_recurrent)  # type: ignore[no-untyped-call]
        elif arguments.kind == "lstm":
            self._hook_inside(output, bidirectional=arguments.bidirectional)
        self.size = self._size(output) if output.numel() >= _MANY_ELEMENTS else None
        for index, (layer, direction) in enumerate(zip(layers, self._directions, strict=True)):
            proof = final[0][index].detach() if direction.is_bounded else None
            listener.computed(self, layer.name, direction.hidden, "hidden", reverse=direction.reverse, proof=proof)

    def _hook(self, arguments: KernelArguments, output: Tensor, final: tuple[Tensor, ...]) -> None:
        for position, tensor in enumerate((output, *final)):
            if tensor.grad_fn is not None:
                tensor.grad_fn.register_prehook(partial(self._receive, position, tensor.output_nr))
        # An LSTM is one node: what becomes of its cell states cannot be seen from outside.
        if arguments.kind == "lstm":
            return
        for index, direction in enumerate(self._directions):
            node = projection_node(arguments.kind, final[0], index)
            if node is None:
                continue
            node.register_prehook(partial(self._receive_projected, index))
            if arguments.kind == "gru" and _gates_are_large(arguments):
                direction.saved_gates = saved_gru_gates(output, index, bidirectional=arguments.bidirectional)

    def _hook_inside(self, output: Tensor, *, bidirectional: bool) -> None:
        for index, direction in enumerate(self._directions):
            node = lstm_node(output, index, bidirectional=bidirectional)
            if node is not None:
                direction.kept = kept_memory(node)
                node.register_prehook(partial(self._receive_inside, index))

    def _size(self, output: Tensor) -> int:
        # About half of what oneDNN keeps is copied, or else the whole of it is held.
        all_kept = [direction.kept for direction in self._directions if direction.kept is not None]
        kept = sum(each.nbytes if comes_afresh(each) else each.nbytes // 2 for each in all_kept)
        weights = sum(tensor.nbytes for direction in self._directions for tensor in direction.given[1:])
        return _TENSORS_HELD * output.nbytes + kept + weights

    def _receive(self, position: int, output_number: int, gradients: tuple[Tensor | None, ...]) -> None:
        if self._listener is None:
            return
        with self._listener.guard:
            if self._passes.is_new(gradients):
                self._forget_gradients()
            gradient = gradients[output_number]
            if gradient is not None and not self._passes.is_batched:
                for direction in self._directions:
                    direction.arrived[position] = gradient.detach()
            self._listener.arrived(self)

    def _receive_recurrent(self, gradient: Tensor) -> None:
        if self._listener is None or self._passes.is_batched:
            return
        with self._listener.guard:
            for direction in self._directions:
                direction.recurrent = gradient.detach()[..., direction.columns]

    def _receive_inside(self, index: int, _: tuple[Tensor | None, ...]) -> None:
        if self._listener is None:
            return
        with self._listener.guard:
            # Where it is to be differentiated PyTorch calls another function than oneDNN's, which writes nothing.
            self._directions[index].has_written = not torch.is_grad_enabled()

    def _receive_projected(self, index: int, gradients: tuple[Tensor | None, ...]) -> None:
        if self._listener is None or self._passes.is_batched:
            return
        with self._listener.guard:
            gradient = gradients[0]
            self._directions[index].projected = None if gradient is None else gradient.detach()

    def _forget_gradients(self) -> None:
        for direction in self._directions:
            direction.forget_gradients()

    def finish(self) -> Iterator[Work]:
        """Take what the backward pass brought.

        Yields:
            What is left to do for the pass of each direction.

        Raises:
            Unrecordable: something was changed in place, gradients were differentiated, or came several at once.
        """
        if self._passes.is_second_order:
            raise Unrecordable(SECOND_ORDER)
        if self._passes.is_batched:
            raise Unrecordable(BATCHED)
        if any(tensor._version != version for tensor, version in self._versions):
            raise Unrecordable(
                "the layer's input, output or weights were changed in place between the forward pass and the end of "
                "the backward pass"
            )
        for layer, direction in zip(self._layers, self._directions, strict=True):
            memory = layer.free_memory()
            yield partial(_work_out, layer, direction.taken_over(memory), memory, self._order_of_user)

    def drop(self) -> None:
        """Hold nothing any more: a user who keeps a loss keeps its graph, and with it this call."""
        self._listener, self._layers, self._versions = None, (), []
        for direction in self._directions:
            direction.drop()


def _gates_are_large(arguments: KernelArguments) -> bool:
    # Reading what was saved takes some microseconds a time, whatever its size, while the training waits.
    rows, inputs = arguments.weights[0].shape
    return arguments.initial[0].shape[1] * rows * (inputs + rows // 3) > _MANY_OPERATIONS


def _work_out(layer: Layer, direction: Direction, memory: Workspace, order: Int[Tensor, " batch"] | None) -> LayerPass:
    layer.hold(memory)
    rows = Rows(direction, layer.workspace)
    summary = summarise(direction, rows).arranged(flip=direction.reverse, order=order)
    direction.drop_graph()
    flip, direct, lengths = direction.reverse, direction.direct, direction.layout.lengths

    def arranged(values: Tensor) -> Tensor:
        values = values if order is None else values[:, order]
        return values.flip(0) if flip else values

    def trajectory(iteration: int, call: int, scale: Tensor | None) -> Trajectory:
        divide = 1 if scale is None else scale.to(rows.hidden.dtype)
        return Trajectory(
            layer=layer.name,
            iteration=iteration,
            call=call,
            hidden=arranged(rows.hidden).clone(),
            total_gradient=arranged(rows.total_gradient) / divide,
            direct_gradient=arranged(direct.all_times()) / divide,
            weight_gradient_norm=summary.known("weight_norm").clone(),
            saturation=summary.known("saturation").clone(),
            cell=None if rows.cell is None else arranged(rows.cell).clone(),
            cell_gradient=None if rows.cell_gradient is None else arranged(rows.cell_gradient) / divide,
            gates={gate: arranged(values).clone() for gate, values in rows.gates.items()},
            lengths=lengths if lengths is None or order is None else lengths[order],
        )

    return LayerPass(layer.name, summary, arranged(rows.hidden), arranged(rows.total_gradient), trajectory)

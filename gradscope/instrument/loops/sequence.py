"""One sequence of states that a loop over a cell made, and the gradients that came back to it.

Nothing is computed while the loop runs: references are kept, and pre-hooks are put on the nodes of the states. Nodes
refer to the sequence and never the other way round, so that it dies with the graph.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils.hooks import RemovableHandle, unserializable_hook

from gradscope.instrument.backward_passes import BackwardPasses
from gradscope.instrument.loops.links import COPY, Link, Marks
from gradscope.instrument.loops.loop_pass import LoopPass
from gradscope.instrument.loops.unrolled import HIDDEN, CellCall, Unrolled
from gradscope.instrument.source import ORDER, Listener, Unrecordable, Work
from gradscope.instrument.transformed import BATCHED


class LoopCell(Protocol):
    """What a sequence needs to know of its cell.

    Attributes:
        name: module path.
    """

    name: str

    def context(self) -> object:
        """Return what has to be remembered of this moment to work out a call later."""

    def work_out(self, unrolled: Unrolled) -> LoopPass:
        """Return everything about a backward pass."""


class LoopSequence:
    """A sequence that grows by one time with every call of the cell, as long as its last state is handed on.

    Args:
        cell: whose states these are.
        listener: is told when a backward pass arrives.
        is_tuple: whether the cell returns its state as a tuple.

    Attributes:
        name: of the cell.
        order: sequences count up, over all sources.
        size: None: a loop is written in Python, and so is its record.
    """

    size: int | None = None

    def __init__(self, cell: LoopCell, listener: Listener, *, is_tuple: bool) -> None:
        self.name, self.order = cell.name, next(ORDER)
        self._cell: LoopCell | None = cell
        self._listener: Listener | None = listener
        self._calls: list[CellCall] = []
        self._versions: list[tuple[Tensor, int]] = []
        self._gradients: list[dict[int, Tensor]] = []
        self._of_copies: dict[int, Tensor] = {}
        self._has_copies = False
        self._copies_handed_on: set[int] = set()
        self._is_tuple = is_tuple
        self._leaf_hooks: list[RemovableHandle] = []
        self._shapes: tuple[torch.Size, ...] = ()
        self._inner: tuple[bool, ...] = ()
        self._opaque: tuple[bool, ...] = ()
        self._passes = BackwardPasses()
        self._also: tuple[Tensor, ...] = ()
        self._open = True
        self._trouble: str | None = None

    def newest(self) -> int:
        """Return the newest time, or -1 if the sequence is over: its graph was freed or it was dropped."""
        return len(self._calls) - 1 if self._open else -1

    def ends_in(self, state: Tensor) -> bool:
        """Return whether `state` shares its memory with a part of the newest state, as after `detach`."""
        return self._open and any(_same_memory(state, last) for last in (*self._calls[-1].states, *self._also))

    def also_known_as(self, states: tuple[Tensor, ...]) -> None:
        """Take note of copies of the newest state that may be handed on in place of it."""
        self._also += tuple(state.detach() for state in states)

    def hand_on_copy(self) -> None:
        """Take note that the recurrence goes on from the newest `COPY`, and not from the state itself."""
        self._copies_handed_on.add(self.newest())

    def append(
        self,
        marks: "Marks[LoopSequence]",
        inputs: Any,  # noqa: ANN401 - whatever a cell takes
        handed: tuple[Tensor, ...] | None,
        links: tuple[Link, ...],
        states: tuple[Tensor, ...],
        copy: Tensor | None = None,
    ) -> None:
        """Add one time.

        Args:
            marks: of the cell.
            inputs: of the cell.
            handed: state that went in.
            links: how it descends from the newest state.
            states: state that came out.
            copy: h_t once more, in other memory and of another node: what comes back to it came back to h_t.
        """
        assert self._cell is not None
        kept = tuple(state.detach() for state in states)
        before = None if handed is None else self._before(handed, links)
        inputs = inputs.detach() if isinstance(inputs, Tensor) else inputs
        if not self._calls:
            self._shapes = tuple(state.shape for state in kept)
            self._inner, self._opaque = marks.inner_parts(states), marks.opaque_parts(states)
            self._gradients = [{} for _ in states]
        returned = [*enumerate(states[: len(self._gradients)])]
        self._also = ()
        if copy is not None:
            self._has_copies = True
            returned.append((COPY, copy))
            # Kept in place of the state, which loops like to change in place: to 0 where an episode has ended, say.
            self._also, kept = kept[:1], (copy.detach().reshape(kept[HIDDEN].shape), *kept[1:])
        for position, tensor in returned:
            self._hook(partial(self._receive, position, len(self._calls), tensor.output_nr), tensor)
        marks.leave(self, len(self._calls), returned)
        self._look_at(kept)
        self._note_shapes(kept)
        used = [*kept, inputs] if isinstance(inputs, Tensor) else [*kept]
        if before is not None and (not self._calls or before is not self._calls[-1].states):
            self._note_shapes(before)
            used += before
        self._versions += [(tensor, tensor._version) for tensor in used if not tensor.is_inference()]
        self._calls.append(CellCall(inputs, before, links, kept, self._cell.context()))

    def _hook(self, receive: Callable[[tuple[Tensor | None, ...]], None], state: Tensor) -> None:
        if state.grad_fn is not None:
            # On the node and not on the tensor: it runs last, after any hook of the user's that rewrites the gradient.
            state.grad_fn.register_prehook(receive)
        elif state.requires_grad:
            hook = unserializable_hook(partial(_as_tuple, receive))  # type: ignore[no-untyped-call]
            self._leaf_hooks.append(state.register_hook(hook))  # type: ignore[no-untyped-call]

    def _look_at(self, states: tuple[Tensor, ...]) -> None:
        assert self._listener is not None
        for quantity, state in zip(("hidden", "cell"), states, strict=False):
            self._listener.computed(self, self.name, state.unsqueeze(0), quantity, first=len(self._calls))

    def _before(self, handed: tuple[Tensor, ...], links: tuple[Link, ...]) -> tuple[Tensor, ...]:
        if all(link is Link.INTACT for link in links) and links:
            return self._calls[-1].states
        return tuple(state.detach() for state in handed)

    def _note_shapes(self, state: tuple[Tensor, ...]) -> None:
        shapes = tuple(part.shape for part in state)
        if shapes != self._shapes:
            self._trouble = (
                f"the shape of its state changed from {_in_words(self._shapes)} to {_in_words(shapes)} within one "
                "sequence; what works is one batch size for all times"
            )

    def _receive(self, position: int, time: int, output_number: int, gradients: tuple[Tensor | None, ...]) -> None:
        if self._listener is None:
            return
        with self._listener.guard:
            if self._passes.is_new(gradients):
                self._forget_gradients()
                if not torch._C._autograd._get_current_graph_task_keep_graph():
                    self._open = False
                self._listener.arrived(self)
            gradient = gradients[output_number]
            if gradient is not None and not self._passes.is_batched:
                of_position = self._of_copies if position == COPY else self._gradients[position]
                of_position[time] = gradient.detach()

    def _forget_gradients(self) -> None:
        self._gradients, self._of_copies = [{} for _ in self._gradients], {}

    def finish(self) -> Iterator[Work]:
        """Take what the backward pass brought.

        Yields:
            What is left to do for the pass.

        Raises:
            Unrecordable: the batch changed its size on the way, something was changed in place, or several gradients
                came at once.
        """
        if self._cell is None:
            return
        arrived, of_copies = self._gradients, self._of_copies
        self._forget_gradients()
        if self._trouble is not None:
            raise Unrecordable(self._trouble)
        if self._passes.is_batched:
            raise Unrecordable(BATCHED)
        if any(tensor._version != version for tensor, version in self._versions):
            raise Unrecordable(
                "its input or state was changed in place between the forward pass and the end of the backward pass; "
                "what works is a new tensor, such as h = h * mask"
            )
        yield self._cell.work_out(self._unrolled(arrived, of_copies)).to_layer_pass

    def _unrolled(self, arrived: Sequence[dict[int, Tensor]], of_copies: Mapping[int, Tensor]) -> Unrolled:
        first, batched = self._calls[0].states, self._calls[0].states[HIDDEN].dim() > 1
        times = range(len(self._calls))
        states, gradients, beside = [], [], None
        if self._has_copies:
            beside = self._beside(arrived[HIDDEN], of_copies)
        for position, of_position in enumerate(arrived):
            zero = torch.zeros_like(first[position])
            states.append(torch.stack([call.states[position] for call in self._calls]))
            gradients.append(torch.stack([of_position.get(time, zero) for time in times]))
        if not batched:
            states, gradients = ([tensor.unsqueeze(1) for tensor in tensors] for tensors in (states, gradients))
        return Unrolled(
            self._calls,
            tuple(states),
            tuple(gradients),
            self._inner,
            self._opaque,
            self._is_tuple,
            batched,
            beside,
            self._passes.is_second_order,
        )

    def _beside(self, arrived: dict[int, Tensor], of_copies: Mapping[int, Tensor]) -> Tensor:
        """Return what entered by copies; where the recurrence goes on from a copy, it is added to `arrived` instead."""
        zero = torch.zeros_like(self._calls[0].states[HIDDEN])
        # A copy may have its axes of length 1 elsewhere.
        found = {time: gradient.reshape(zero.shape) for time, gradient in of_copies.items()}
        for time in self._copies_handed_on & found.keys():
            gradient = found.pop(time)
            arrived[time] = arrived[time] + gradient if time in arrived else gradient
        return torch.stack([found.get(time, zero) for time in range(len(self._calls))])

    def drop(self) -> None:
        """Hold nothing any more: a user who keeps a loss keeps its graph, and with it this sequence."""
        self._open, self._cell, self._listener = False, None, None
        self._calls, self._versions, self._gradients, self._of_copies, self._also = [], [], [], {}, ()
        for handle in self._leaf_hooks:
            handle.remove()
        self._leaf_hooks = []


def _same_memory(tensor: Tensor, other: Tensor) -> bool:
    if tensor.data_ptr() != other.data_ptr():
        return False
    tensor, other = tensor.squeeze(), other.squeeze()  # Axes of length 1 come and go with a batch axis.
    return tensor.shape == other.shape and tensor.stride() == other.stride()


def _as_tuple(receive: Callable[[tuple[Tensor | None, ...]], None], gradient: Tensor) -> None:
    receive((gradient,))


def _in_words(shapes: Sequence[torch.Size]) -> str:
    return " and ".join(str(tuple(shape)) for shape in shapes)

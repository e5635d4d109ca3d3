"""How the state that a cell is handed descends from the state that it returned one time earlier.

Every state that a watched cell returns leaves a mark on its node of the autograd graph. A handed state is traced back
to such a mark: the node itself is the common case; a normalisation, a mask or a dropout between the times puts a few
nodes in between.
"""

from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from torch import Tensor
from torch.autograd.graph import Node

_FARTHEST = 30
"""Nodes between two times that are looked at before a search ends."""
_FARTHEST_WITHIN_A_CELL = 200

_MOVES_DATA = {
    "AliasBackward0",
    "CatBackward0",
    "CloneBackward0",
    "PermuteBackward0",
    "ReshapeAliasBackward0",
    "SelectBackward0",
    "SliceBackward0",
    "SplitBackward0",
    "SplitWithSizesBackward0",
    "SqueezeBackward0",
    "SqueezeBackward1",
    "SqueezeBackward2",
    "StackBackward0",
    "TBackward0",
    "ToCopyBackward0",
    "TransposeBackward0",
    "UnbindBackward0",
    "UnsafeSplitBackward0",
    "UnsafeViewBackward0",
    "UnsqueezeBackward0",
    "ViewBackward0",
}
"""Nodes whose Jacobian only moves entries about: if the values on both ends are equal, it moves each onto itself."""


COPY = -1
"""Position of a tensor that holds h_t a second time, as the output of a fused function of one time does."""


class Link(Enum):
    """What lies between a state as it was returned and as it is handed on.

    INTACT: nothing. MOVED: nodes that move entries about, the identity if the values on both ends are equal. CUT: no
    path for gradients, as after `detach`. CHANGED: a computation, whose Jacobian is not known.
    """

    INTACT = 0
    MOVED = 1
    CUT = 2
    CHANGED = 3


class Marked(Protocol):
    """What a mark points to, as far as this module needs to know it."""

    def newest(self) -> int:
        """Return the newest time, or -1 if nothing may be added to the sequence any more."""


SequenceT = TypeVar("SequenceT", bound=Marked)


@dataclass(frozen=True)
class Mark(Generic[SequenceT]):
    """Left on a node: which states it computed.

    Attributes:
        sequence: whose states; marks die with the graph, and the sequence with them.
        time: of the states.
        positions: output number of the node -> position in the state, or `COPY`.
    """

    sequence: SequenceT
    time: int
    positions: Mapping[int, int]


@dataclass(frozen=True)
class Descent(Generic[SequenceT]):
    """Where a handed state comes from.

    Attributes:
        mark: of the newest state of a sequence.
        position: in that state, or `COPY`.
        link: what lies between.
    """

    mark: Mark[SequenceT]
    position: int
    link: Link


class Marks(Generic[SequenceT]):
    """The marks of one cell and one recorder: no other can be taken for them."""

    def leave(self, sequence: SequenceT, time: int, states: Iterable[tuple[int, Tensor]]) -> None:
        """Mark the nodes of what the cell returned: of each tensor, and which part of the state it is."""
        positions: dict[Node, dict[int, int]] = {}
        for position, state in states:
            if state.grad_fn is not None:
                positions.setdefault(state.grad_fn, {})[state.output_nr] = position
        for node, of_node in positions.items():
            _metadata(node)[self] = Mark(sequence, time, of_node)

    def descent(self, state: Tensor) -> Descent[SequenceT] | None:
        """Trace a handed state back.

        Returns:
            From which newest state of a sequence it descends, and how; None if it descends from none.
        """
        if state.grad_fn is None:
            return None
        seen = {state.grad_fn}
        waiting: deque[tuple[Node, int, Link]] = deque([(state.grad_fn, state.output_nr, Link.INTACT)])
        while waiting:
            node, output, link = waiting.popleft()
            mark: Mark[SequenceT] | None = _metadata(node).get(self)
            if mark is not None:
                if mark.time == mark.sequence.newest() and output in mark.positions:
                    return Descent(mark, mark.positions[output], link)
                continue  # Behind it lies what is older.
            onward = Link.MOVED if link is not Link.CHANGED and node.name() in _MOVES_DATA else Link.CHANGED
            for below, number in node.next_functions:
                if below is not None and below not in seen and len(seen) < _FARTHEST:
                    seen.add(below)
                    waiting.append((below, number, onward))
        return None

    def inner_parts(self, state: Sequence[Tensor]) -> tuple[bool, ...]:
        """Return for each part of a state that the cell returned whether another part was computed from it."""
        return tuple(part.output_nr in self._outputs_used(part, state) for part in state)

    def opaque_parts(self, state: Sequence[Tensor]) -> tuple[bool, ...]:
        """Return for each part whether another one came out of the same node: what that took of it cannot be seen.

        So it is with the (h, c) of an LSTM's fused cell, as on a GPU.
        """
        return tuple(
            part.grad_fn is not None
            and part.grad_fn.name() not in _MOVES_DATA
            and not self._outputs_used(part, state) <= {part.output_nr}
            for part in state
        )

    def _outputs_used(self, part: Tensor, state: Sequence[Tensor]) -> set[int]:
        """Return which outputs of a part's node the other parts were computed from, or are."""
        others = (other for other in state if other is not part)
        return {number for other in others for number in self._outputs_between(other, part)}

    def _outputs_between(self, upper: Tensor, lower: Tensor) -> set[int]:
        if upper.grad_fn is None or lower.grad_fn is None:
            return set()
        if upper.grad_fn is lower.grad_fn:
            return {upper.output_nr} - {lower.output_nr}
        outputs, seen, waiting = set(), {upper.grad_fn}, deque([upper.grad_fn])
        while waiting:
            node = waiting.popleft()
            for below, number in node.next_functions:
                if below is lower.grad_fn:
                    outputs.add(number)
                elif below is not None and below not in seen and len(seen) < _FARTHEST_WITHIN_A_CELL:
                    seen.add(below)
                    if self not in _metadata(below):
                        waiting.append(below)
        return outputs


def _metadata(node: Node) -> dict[Any, Any]:
    return node.metadata  # type: ignore[return-value]  # torch's own annotation takes the property for a method

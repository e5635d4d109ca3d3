"""Which sequence a call of a cell continues.

A loop is written by the user, so that nothing says where a sequence begins and ends. It is read off the state: a call
continues the sequence whose newest state it is handed, be it detached or normalised, masked or dropped out on the way;
any other call begins a sequence.
"""

import weakref
from collections import deque
from typing import Any

from torch import Tensor

from gradscope.instrument.loops.links import COPY, Link, Marks
from gradscope.instrument.loops.sequence import LoopCell, LoopSequence
from gradscope.instrument.loops.unrolled import HIDDEN
from gradscope.instrument.source import Listener

_RECENT = 8
"""So many sequences of a cell can be interleaved and cut off at the same time."""


class GrowingSequences:
    """The sequences that loops over one cell make in one iteration.

    Args:
        cell: that is called.
    """

    def __init__(self, cell: LoopCell) -> None:
        self._cell = cell
        self._marks: Marks[LoopSequence] = Marks()
        self._by_pointer: dict[int, weakref.ref[LoopSequence]] = {}
        # Those of a cut-off window would die with its graph, though the loop goes on.
        self._recent: deque[LoopSequence] = deque(maxlen=_RECENT)

    def forget(self) -> None:
        """Begin anew: the iteration is over."""
        self._by_pointer.clear()
        self._recent.clear()

    def add(
        self,
        listener: Listener,
        inputs: Any,  # noqa: ANN401 - whatever a cell takes
        handed: tuple[Tensor, ...] | None,
        states: tuple[Tensor, ...],
        *,
        is_tuple: bool,
        copy: Tensor | None = None,
    ) -> LoopSequence:
        """Add a call to the sequence that it continues, or begin one.

        Args:
            listener: is told of a new sequence, and of what comes back to it.
            inputs: of the cell.
            handed: state that went in; None where there was none.
            states: state that came out.
            is_tuple: whether the cell returns its state as a tuple.
            copy: h_t once more, in other memory and of another node.

        Returns:
            The sequence.
        """
        sequence, links, reads_copy = self._continued(handed or ())
        if sequence is None:
            sequence = LoopSequence(self._cell, listener, is_tuple=is_tuple)
            listener.called(sequence)
        if sequence not in self._recent:
            self._recent.append(sequence)
        if reads_copy:
            sequence.hand_on_copy()
        sequence.append(self._marks, inputs, handed, links, states, copy)
        self._remember(sequence, states if copy is None else (*states, copy))
        return sequence

    def also_known_as(self, sequence: LoopSequence, states: tuple[Tensor, ...]) -> None:
        """Take note of where else in memory the newest state of a sequence can be found."""
        sequence.also_known_as(states)
        self._remember(sequence, states)

    def _remember(self, sequence: LoopSequence, states: tuple[Tensor, ...]) -> None:
        reference = weakref.ref(sequence)
        for part in states:
            self._by_pointer[part.data_ptr()] = reference

    def _continued(self, handed: tuple[Tensor, ...]) -> tuple[LoopSequence | None, tuple[Link, ...], bool]:
        descents = [self._marks.descent(part) for part in handed]
        marked = next((found.mark.sequence for found in descents if found is not None), None)
        sequence = self._by_memory(handed) or marked
        if sequence is None:
            return None, (), False
        links, reads_copy = [], False
        for position, (part, found) in enumerate(zip(handed, descents, strict=True)):
            if part.grad_fn is None:
                links.append(Link.CUT)
            elif found is not None and found.mark.sequence is sequence and found.position == position:
                links.append(found.link)
            elif found is not None and found.mark.sequence is sequence and (found.position, position) == (COPY, HIDDEN):
                links.append(found.link)
                reads_copy = True
            else:
                links.append(Link.CHANGED)
        return sequence, tuple(links), reads_copy

    def _by_memory(self, handed: tuple[Tensor, ...]) -> LoopSequence | None:
        for part in handed:
            reference = self._by_pointer.get(part.data_ptr())
            sequence = None if reference is None else reference()
            if sequence is not None and sequence.ends_in(part):
                return sequence
        return None

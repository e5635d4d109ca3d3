"""What a loop over a cell left of one sequence: its calls, its states and the gradients that came back to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Shaped
from torch import Tensor

from gradscope.instrument.loops.links import Link

HIDDEN, CELL = 0, 1
"""Positions in a state."""


@dataclass(frozen=True, eq=False)
class CellCall:
    """One call of the cell: one time of the sequence.

    Attributes:
        inputs: what came as its input, detached.
        handed: the state that it was handed, detached, or None.
        links: how each part of that state descends from the time before; empty for the first.
        states: the state that it returned, detached.
        context: whatever `LoopCell.context` made of the moment.
    """

    inputs: Any
    handed: tuple[Tensor, ...] | None
    links: tuple[Link, ...]
    states: tuple[Tensor, ...]
    context: Any


@dataclass(frozen=True, eq=False)
class Unrolled:
    """A sequence and one backward pass through it; unbatched ones have a batch of one.

    Attributes:
        calls: one for each time.
        states: each part of the state, (time, batch, ...).
        gradients: of each part of the state, as the autograd engine had it at the state's node.
        inner: for each part, whether another part of the same time was computed from it, so that its gradient holds
            what comes through that; otherwise it holds only what comes from elsewhere.
        opaque: for each part, whether another part came out of the same node of the graph, so that its gradient lacks
            what may come through that.
        is_tuple: whether the cell returns its state as a tuple.
        batched: whether the user's tensors have a batch axis.
        beside: of `COPY` of h_t, what the recurrence did not bring: it came beside `gradients`, and entered directly.
            None where there are no copies.
        is_second_order: whether the pass came after one with create_graph=True, and may differentiate it.
    """

    calls: Sequence[CellCall]
    states: tuple[Shaped[Tensor, "time batch *rest"], ...]
    gradients: tuple[Shaped[Tensor, "time batch *rest"], ...]
    inner: tuple[bool, ...]
    opaque: tuple[bool, ...]
    is_tuple: bool
    batched: bool
    beside: Shaped[Tensor, "time batch *rest"] | None
    is_second_order: bool

    def stack(self, tensors: Sequence[Tensor]) -> Shaped[Tensor, "time batch *rest"]:
        """Return one tensor a time as one tensor."""
        stacked = torch.stack(list(tensors))
        return stacked if self.batched else stacked.unsqueeze(1)

    def handed(self, position: int) -> Shaped[Tensor, "time batch *rest"]:
        """Return one part of the state that each call was handed; zero where it was handed none."""
        first = self.calls[0].states[position]
        return self.stack(
            [torch.zeros_like(first) if call.handed is None else call.handed[position] for call in self.calls]
        )


def as_vectors(tensor: Shaped[Tensor, "time batch *rest"]) -> Float[Tensor, "time batch hidden"]:
    """Return what a state of any shape is in the tables, never below float32."""
    return tensor.flatten(2).to(torch.promote_types(tensor.dtype, torch.float32))

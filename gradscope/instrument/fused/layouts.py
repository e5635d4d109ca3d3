"""How a fused function lays a sequence out in memory, and back to (time, batch, size).

Batches are in the order of the function: for a packed sequence the longest first.
"""

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence, pad_packed_sequence

from gradscope.instrument.devices import to_device


@runtime_checkable
class Layout(Protocol):
    """One way to lay a sequence out.

    Attributes:
        lengths: how many times each sequence has; None where all have all.
        exists: which (time, batch) there are; None where all are.
    """

    lengths: Int[Tensor, " batch"] | None
    exists: Bool[Tensor, "time batch"] | None

    def by_time(self, tensor: Tensor) -> Float[Tensor, "time batch size"]:
        """Return the tensor as (time, batch, size), zero where a sequence has ended."""

    def add_at_end(self, sequence: Float[Tensor, "time batch size"], last: Float[Tensor, "batch size"]) -> None:
        """Add to the last time that each sequence has."""


class Dense:
    """A padded tensor, time-major or batch-first; every sequence has every time."""

    lengths: Int[Tensor, " batch"] | None = None
    exists: Bool[Tensor, "time batch"] | None = None

    def __init__(self, *, batch_first: bool) -> None:
        self._batch_first = batch_first

    def by_time(self, tensor: Tensor) -> Float[Tensor, "time batch size"]:
        """Return a view."""
        return tensor.transpose(0, 1) if self._batch_first else tensor

    def add_at_end(self, sequence: Float[Tensor, "time batch size"], last: Float[Tensor, "batch size"]) -> None:
        """Add to the last time."""
        sequence[-1] += last


class Packed:
    """The rows of a PackedSequence: all sequences' time 0, all that have a time 1, and so on."""

    def __init__(self, batch_sizes: Int[Tensor, " time"], device: torch.device) -> None:
        self._batch_sizes = batch_sizes
        # Where batch sizes always are, whatever the user's default device is.
        sequences = torch.arange(int(batch_sizes[0]), device=batch_sizes.device)
        exists = sequences < batch_sizes[:, None]
        self.exists: Bool[Tensor, "time batch"] | None = to_device(exists, device)
        self.lengths: Int[Tensor, " batch"] | None = to_device(exists.sum(0), device)

    def by_time(self, tensor: Tensor) -> Float[Tensor, "time batch size"]:
        """Return the rows padded with zeros."""
        padded, _ = pad_packed_sequence(PackedSequence(tensor, self._batch_sizes))
        return padded

    def add_at_end(self, sequence: Float[Tensor, "time batch size"], last: Float[Tensor, "batch size"]) -> None:
        """Add to the last time that each sequence has."""
        assert self.lengths is not None
        sequence[self.lengths - 1, torch.arange(len(last), device=sequence.device)] += last

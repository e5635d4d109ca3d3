"""The direct gradient of one direction: what a backward pass brought to the output and the final states themselves."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.fused.layouts import Layout

OUTPUT, LAST_HIDDEN, LAST_CELL = 0, 1, 2


@dataclass(frozen=True, eq=False)
class DirectGradient:
    """Times are in the order of processing.

    Attributes:
        layout: of the output sequence.
        columns: the direction's part of the output.
        index: its part of the final states.
        shape: (time, batch, hidden).
        units: size of the cell.
        dtype: what to return.
        device: where.
        reverse: whether the last time is processed first.
        arrived: gradients of both directions, by `OUTPUT`, `LAST_HIDDEN`, `LAST_CELL`; what is missing is zero.
    """

    layout: Layout
    columns: slice
    index: int
    shape: tuple[int, int, int]
    units: int
    dtype: torch.dtype
    device: torch.device
    reverse: bool
    arrived: Mapping[int, Tensor]

    def at(self, times: slice) -> Float[Tensor, "time batch hidden"]:
        """Return e_t of some times: what reached the output itself, and h_n where a sequence ends.

        `times` are all, if the sequence is packed.
        """
        time, batch, hidden = self.shape
        if OUTPUT in self.arrived:
            output = self.layout.by_time(self.arrived[OUTPUT][..., self.columns])
            direct = in_order(output, times, reverse=self.reverse).to(self.dtype)
        else:
            direct = torch.zeros((times.stop - times.start, batch, hidden), dtype=self.dtype, device=self.device)
        if LAST_HIDDEN in self.arrived and times.stop == time:
            direct = direct.clone()
            last = self.arrived[LAST_HIDDEN][self.index].to(self.dtype)
            if self.reverse:
                direct[-1] += last
            else:
                self.layout.add_at_end(direct, last)
        return direct

    def all_times(self) -> Float[Tensor, "time batch hidden"]:
        """Return e_t of every time."""
        return self.at(slice(0, self.shape[0]))

    def last_cell(self) -> Float[Tensor, "batch units"]:
        """Return what reached c_n of an LSTM."""
        if LAST_CELL not in self.arrived:
            return torch.zeros((self.shape[1], self.units), dtype=self.dtype, device=self.device)
        return self.arrived[LAST_CELL][self.index].to(self.dtype)


def in_order(
    sequence: Float[Tensor, "all_times batch size"], times: slice, *, reverse: bool
) -> Float[Tensor, "time batch size"]:
    """Return some times of a sequence, counted in the order of processing."""
    if not reverse:
        return sequence[times]
    return sequence[len(sequence) - times.stop : len(sequence) - times.start].flip(0)

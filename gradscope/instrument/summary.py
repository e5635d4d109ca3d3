"""What is kept of a pass for every time: norms, shares, counts. All of it stays on the layer's device."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from gradscope.dynamics.weight_gradient import weight_gradient_norm
from gradscope.instrument.fused import Call
from gradscope.instrument.norms import vector_norm
from gradscope.instrument.reconstruction import Block, Rows, reconstruct

CLOSED, OPEN = 0.1, 0.9
"""A gate counts as closed below the one and as open above the other (Karpathy, Johnson & Fei-Fei 2015)."""


class Summary:
    """Norms of each sequence at each time, and shares over the whole batch.

    Attributes:
        hidden_norm: |h_t|.
        direct_norm: |e_t|.
        total_norm: |a_t|.
        weight_norm: norm of time t's term in dL/dW_hh.
        saturation: share of flat units.
        cell_norm: |c_t|, for an LSTM.
        cell_gradient_norm: |dL/dc_t|, for an LSTM.
        gates: name to (mean, share closed, share open).
    """

    def __init__(self, call: Call, rows: Rows) -> None:
        time, batch, _ = call.shape
        self.total_norm: Float[Tensor, "time batch"] = torch.empty(
            (time, batch), dtype=torch.float64, device=call.device
        )
        self.weight_norm: Float[Tensor, " time"] = torch.empty_like(self.total_norm[:, 0])
        self.saturation: Float[Tensor, " time"] = torch.empty_like(self.weight_norm)
        lstm = call.module.mode == "LSTM"
        self.cell_gradient_norm: Float[Tensor, "time batch"] | None = (
            torch.empty_like(self.total_norm) if lstm else None
        )
        for block in reconstruct(call, rows):
            self._add(block, rows)
        self.hidden_norm: Float[Tensor, "time batch"] = vector_norm(rows.hidden)
        self.direct_norm: Float[Tensor, "time batch"] = _direct_norm(call.direct_gradient(slice(0, time)))
        self.cell_norm: Float[Tensor, "time batch"] | None = vector_norm(rows.cell) if lstm else None
        self.gates: dict[str, Float[Tensor, "3 time"]] = {name: _openness(gate) for name, gate in rows.gates.items()}

    def _add(self, block: Block, rows: Rows) -> None:
        times = block.times
        norm = self.total_norm[times] = vector_norm(rows.total_gradient[times])
        if self.cell_gradient_norm is not None:
            cell_norm = self.cell_gradient_norm[times] = vector_norm(rows.cell_gradient[times])
            norm = torch.maximum(norm, cell_norm)
        self.saturation[times] = block.saturation
        largest = norm.amax(1)
        before = rows.hidden_before[times]
        self.weight_norm[times] = weight_gradient_norm(block.preactivation_gradient, before, largest)

    def unscale(self, scale: Tensor) -> None:
        """Divide every gradient by the loss scale of mixed-precision training."""
        for norm in (self.direct_norm, self.total_norm, self.weight_norm, self.cell_gradient_norm):
            if norm is not None:
                norm.div_(scale)

    @property
    def nonfinite(self) -> Int[Tensor, " time"]:
        """How many sequences have a NaN or an infinity in their state or their total gradient."""
        return (~(self.hidden_norm + self.total_norm).isfinite()).sum(1)


def _direct_norm(direct: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "time batch"]:
    earlier = direct[:-1]
    if direct.device.type != "cpu" or len(direct) == 1 or any(bound != 0 for bound in earlier.aminmax()):
        return vector_norm(direct)
    # A loss on the last time is so common that finding the zeros before it pays.
    norm = torch.zeros(direct.shape[:2], dtype=torch.float64)
    norm[-1] = vector_norm(direct[-1])
    return norm


def _openness(gate: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "3 time"]:
    compared = torch.empty_like(gate)
    shares = [gate.mean((1, 2))]
    shares.append(torch.lt(gate, CLOSED, out=compared).mean((1, 2)))
    shares.append(torch.gt(gate, OPEN, out=compared).mean((1, 2)))
    return torch.stack(shares)

"""From the blocks of a reconstruction to the summary of the pass."""

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.dynamics.weight_gradient import weight_gradient_norm
from gradscope.instrument.fused.direction import Direction
from gradscope.instrument.fused.reconstruction import Block, reconstruct
from gradscope.instrument.fused.rows import Rows
from gradscope.instrument.norms import vector_norm
from gradscope.instrument.summary import Summary, openness, over_batch


def summarise(direction: Direction, rows: Rows) -> Summary:
    """Fill `rows`, and take the norms of each block while its temporaries are still in the cache.

    Returns:
        Norms and shares of every time, in the order of processing.
    """
    blocks = [_BlockNorms(block, rows) for block in reconstruct(direction, rows)][::-1]
    exists = direction.exists
    return Summary(
        hidden_norm=vector_norm(rows.hidden),
        total_norm=torch.cat([block.total for block in blocks]),
        direct_norm=_direct_norm(direction.direct.all_times()),
        weight_norm=torch.cat([block.weight for block in blocks]),
        saturation=over_batch(torch.cat([block.saturation for block in blocks]), exists),
        cell_norm=None if rows.cell is None else vector_norm(rows.cell),
        cell_gradient_norm=_joined([block.cell for block in blocks]),
        gates={name: openness(name, gate, exists) for name, gate in rows.gates.items()},
        exists=exists,
    )


class _BlockNorms:
    def __init__(self, block: Block, rows: Rows) -> None:
        times = block.times
        self.total = largest = vector_norm(rows.total_gradient[times])
        self.cell: Float[Tensor, "time batch"] | None = None
        if rows.cell_gradient is not None:
            self.cell = vector_norm(rows.cell_gradient[times])
            largest = torch.maximum(largest, self.cell)
        self.saturation = block.saturation
        self.weight = weight_gradient_norm(block.preactivation_gradient, rows.hidden_before[times], largest.amax(1))


def _joined(blocks: list[Tensor | None]) -> Tensor | None:
    present = [block for block in blocks if block is not None]
    return torch.cat(present) if present else None


def _direct_norm(direct: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "time batch"]:
    earlier = direct[:-1]
    if direct.device.type != "cpu" or len(direct) == 1 or any(bound != 0 for bound in earlier.aminmax()):
        return vector_norm(direct)
    # A loss on the last time is so common that finding the zeros before it pays.
    norm = torch.zeros(direct.shape[:2], dtype=torch.float64)
    norm[-1] = vector_norm(direct[-1])
    return norm

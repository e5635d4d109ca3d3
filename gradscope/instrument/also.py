"""What is recorded only where it is asked for: it costs more, or says something of few trainings only."""

from collections.abc import Collection
from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.dynamics import spectral_radius
from gradscope.errors import UsageError

Also = Literal["spectral-radius", "unit-norms", "micro-batches"]
_KNOWN: tuple[str, ...] = get_args(Also)
_GATES = (1, 3, 4)
"""Blocks that a recurrent matrix is stacked of: of an RNN, a GRU, an LSTM."""


def checked_also(also: object) -> frozenset[str]:
    """Return what the user asked for.

    Raises:
        UsageError: something is not known.
    """
    asked: list[object] = list(also) if isinstance(also, Collection) and not isinstance(also, str) else [also]
    unknown = [each for each in asked if each not in _KNOWN]
    if unknown:
        raise UsageError(f"also expects any of {', '.join(_KNOWN)}, got {', '.join(map(repr, unknown))}.")
    return frozenset(map(str, asked))


def recurrent_radius(name: str, weight: Tensor) -> Float[Tensor, ""]:
    """Return the spectral radius of a recurrent matrix, of a gated cell the largest of its gates' matrices.

    Args:
        name: of the parameter.
        weight: its value.

    Returns:
        NaN for a parameter that is no recurrent matrix, or not square because its state is projected.
    """
    columns = weight.shape[-1] if weight.dim() == 2 else 0
    if not name.rpartition(".")[2].startswith("weight_hh") or len(weight) not in [columns * gates for gates in _GATES]:
        return torch.tensor(torch.nan, dtype=torch.float64)
    # In float64 and on the CPU: eigenvalues of a float16 are not to be had, and on a GPU they are slower.
    radius: Tensor = spectral_radius(weight.detach().cpu().double().view(-1, columns, columns)).max()
    return radius


def unit_norms(values: Tensor) -> Float[Tensor, " unit"]:
    """Return the norm of each unit: a row of a matrix; a vector is one unit (as adaptive gradient clipping has it)."""
    rows = values.flatten(1) if values.dim() > 1 else values.reshape(1, -1)
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.promote_types(values.dtype, torch.float32))
    return norms


class MicroBatches:
    """The gradients of the backward passes that add up to one update.

    Attributes:
        norms: |d_k| of what the k-th pass added, one number each.
    """

    def __init__(self) -> None:
        self.norms: list[Tensor] = []

    def add(self, before: dict[str, Tensor], after: dict[str, Tensor]) -> None:
        """Take the gradients that a pass changed, before and after; what was not there before was 0."""
        added = [value - before[name] if name in before else value for name, value in after.items()]
        found = torch._foreach_norm(added)  # A model may be spread over several devices.
        self.norms.append(torch.linalg.vector_norm(torch.stack([norm.to(found[0].device) for norm in found])))

    def norm(self) -> Float[Tensor, ""]:
        """Return the root mean square of the passes' gradients, each times their number.

        So it is comparable with the norm of their sum: with the loss divided by the number of passes, as is usual, it
        is the norm of the gradient of one micro-batch and the sum is that of the whole batch.
        """
        mean: Tensor = torch.stack(self.norms).square().mean().sqrt() * len(self.norms)
        return mean

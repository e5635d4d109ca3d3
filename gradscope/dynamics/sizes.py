"""Norms that are right over the whole range of a dtype.

The square of a float32 gradient of 1e-23 is 0: a plain norm would report an underflow that never happened.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def norm_per_sequence(vectors: Float[Tensor, "*leading full_state"]) -> Float[Tensor, "*leading"]:
    """Return the L2 norm of each vector along the last axis, such as the size of each time's total gradient."""
    largest = vectors.abs().amax(-1, keepdim=True)
    scale = torch.where((largest > 0) & largest.isfinite(), largest, 1)
    norms: Tensor = torch.linalg.vector_norm(vectors / scale, dim=-1) * scale[..., 0]
    return norms

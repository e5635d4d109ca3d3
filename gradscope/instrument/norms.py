"""L2 norms that are right over the whole range of a dtype.

The square of a float32 gradient of 1e-23 is 0: a plain norm would report an underflow that never happened.
"""

import torch
from jaxtyping import Float
from torch import Tensor

_SQUARABLE = {torch.float32: (1e-15, 2.0**100), torch.float64: (1e-150, 2.0**500)}
"""For each dtype: norms between this number and its inverse are exact, and a power of two that lifts smaller ones."""


def vector_norm(vectors: Float[Tensor, "*leading size"]) -> Float[Tensor, "*leading"]:
    """Return the L2 norm of each vector, right over the whole range of the dtype, as float64."""
    if vectors.device.type != "cpu" or vectors.dtype not in _SQUARABLE:
        return _norm_in_float64(vectors)
    # On CPU a float64 copy would cost more than all the rest, and looking at the result costs no device sync.
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1).double()
    exact_above, lift = _SQUARABLE[vectors.dtype]
    smallest, largest = norm.aminmax()
    if largest > 1 / exact_above:
        return _norm_in_float64(vectors)
    if smallest < exact_above:
        lifted = torch.linalg.vector_norm(vectors * lift, dim=-1).double().div_(lift)
        norm = norm.where(norm > exact_above, lifted)
    return norm


def _norm_in_float64(vectors: Float[Tensor, "*leading size"]) -> Float[Tensor, "*leading"]:
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64)
    return norm

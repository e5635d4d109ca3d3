"""What a Jacobian does to lengths: singular values, spectral radius, condition number.

The spectral radius says what happens to lengths in the end if one and the same matrix is applied for ever; the largest
singular value what can happen at once. For a matrix that is not normal they can lie orders of magnitude apart, so that
neither stands for the other. Matrices that hold a value that is not finite give NaN.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def singular_values(matrices: Float[Tensor, "*leading n n"]) -> Float[Tensor, "*leading n"]:
    """Return the singular values, largest first."""
    finite = _finite(matrices)
    values: Tensor = torch.linalg.svdvals(matrices.where(finite[..., None, None], 0))
    return values.where(finite[..., None], torch.nan)


def spectral_radius(matrices: Float[Tensor, "*leading n n"]) -> Float[Tensor, "*leading"]:
    """Return the largest modulus of the eigenvalues."""
    finite = _finite(matrices)
    values: Tensor = torch.linalg.eigvals(matrices.where(finite[..., None, None], 0)).abs().amax(-1)
    return values.where(finite, torch.nan)


def condition_number(matrices: Float[Tensor, "*leading n n"]) -> Float[Tensor, "*leading"]:
    """Return the ratio of the largest singular value to the smallest; infinite for a singular matrix, NaN for 0.

    Beyond 1 / (the precision of the dtype) it says no more than that it is at least about that large.
    """
    values = singular_values(matrices)
    return values[..., 0] / values[..., -1]


def _finite(matrices: Tensor) -> Tensor:
    return matrices.isfinite().all(-1).all(-1)

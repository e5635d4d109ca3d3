"""L2 norms that are right over the whole range of a dtype.

The square of a float32 gradient of 1e-23 is 0: a plain norm would report an underflow that never happened.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.devices import to_device

_SQUARABLE = {torch.float32: (1e-15, 2.0**100), torch.float64: (1e-150, 2.0**500)}
"""For each dtype: norms between this number and its inverse are exact, and a power of two that lifts smaller ones."""


def vector_norm(vectors: Float[Tensor, "*leading size"]) -> Float[Tensor, "*leading"]:
    """Return the L2 norm of each vector, right over the whole range of the dtype, as float64."""
    if vectors.device.type != "cpu" or vectors.dtype not in _SQUARABLE:
        return _norm_in_float64(vectors)
    # On CPU a float64 copy would cost more than all the rest, and looking at the result costs no device sync.
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1).double()
    exact_above, lift = _SQUARABLE[vectors.dtype]
    if norm.numel() == 0:
        return norm
    smallest, largest = norm.aminmax()
    if not largest <= 1 / exact_above:  # also where a NaN hides how large the others are
        return _norm_in_float64(vectors)
    if largest == 0 and not any(bound != 0 for bound in vectors.aminmax()):
        return norm
    if smallest < exact_above:
        lifted = torch.linalg.vector_norm(vectors * lift, dim=-1).double().div_(lift)
        norm = norm.where(norm > exact_above, lifted)
    return norm


def _norm_in_float64(vectors: Float[Tensor, "*leading size"]) -> Float[Tensor, "*leading"]:
    norm: Tensor = torch.linalg.vector_norm(vectors, dim=-1, dtype=torch.float64)
    return norm


def norms(tensors: Sequence[Tensor]) -> Float[Tensor, " tensor"]:
    """Return the L2 norm of each whole tensor as float64, all on one device: a GPU, if any of them is on one."""
    device = next((tensor.device for tensor in tensors if tensor.device.type != "cpu"), tensors[0].device)
    if any(tensor.dtype != torch.float32 or tensor.device != device for tensor in tensors) or device.type != "cpu":
        return torch.stack([to_device(_norm_in_float64(tensor.flatten()), device) for tensor in tensors])
    # What clip_grad_norm_ uses: one call for all parameters.
    found = torch.stack(list(torch._foreach_norm(list(tensors)))).double()
    if not _all_exact(found, torch.float32):
        exact_above, _ = _SQUARABLE[torch.float32]
        exact = ((found > exact_above) & (found < 1 / exact_above)).tolist()  # False for NaN
        for position, tensor in enumerate(tensors):
            if not exact[position]:
                found[position] = vector_norm(tensor.flatten())
    return found


def dot(
    left: Sequence[Tensor],
    right: Sequence[Tensor],
    left_norms: Float[Tensor, " tensor"],
    right_norms: Float[Tensor, " tensor"],
) -> Float[Tensor, ""]:
    """Return the inner product of two lists of tensors, given their norms, as float64."""
    device = left_norms.device
    if device.type == "cpu" and _all_exact(left_norms, left[0].dtype) and _all_exact(right_norms, left[0].dtype):
        products = [torch.dot(a.flatten(), b.flatten()) for a, b in zip(left, right, strict=True)]
    else:
        products = [
            to_device(torch.dot(a.flatten().double(), b.flatten().double()), device)
            for a, b in zip(left, right, strict=True)
        ]
    return torch.stack(products).double().sum()


def _all_exact(found: Float[Tensor, " tensor"], dtype: torch.dtype) -> bool:
    if dtype not in _SQUARABLE:
        return False
    exact_above, _ = _SQUARABLE[dtype]
    smallest, largest = found.aminmax()
    return bool(smallest > exact_above and largest < 1 / exact_above)

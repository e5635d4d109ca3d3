"""What one time does to small differences: covectors go back, tangents go forward, and the Jacobian itself."""

import functools
import warnings
from collections.abc import Callable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.dynamics.full_state import FlatStep

_SMALL = 32
"""Up to this size of a state its Jacobian costs little more than the overhead of a call."""
_HELD = 2**22
"""Numbers that the Jacobians held at once may have."""


def pull_back(
    step: FlatStep,
    x: Float[Tensor, "batch ..."],
    before: Float[Tensor, "batch state"],
    covectors: Float[Tensor, "rows batch state"],
) -> Float[Tensor, "rows batch state"]:
    """Return J_t^T a for each of many gradients a that arrive at z_t."""
    pull = torch.func.vjp(lambda z: step(x, z), before)[1]
    if len(covectors) == 1:  # mapping over one costs more than the derivative itself
        single: Tensor = pull(covectors[0])[0]
        return single[None]
    back: Tensor = torch.func.vmap(lambda covector: pull(covector)[0])(covectors)
    return back


def push_forward(
    step: FlatStep,
    x: Float[Tensor, "batch ..."],
    before: Float[Tensor, "batch state"],
    tangents: Float[Tensor, "batch state columns"],
) -> Float[Tensor, "batch state columns"]:
    """Return J_t v for each of many tangent vectors v at z_{t-1}."""
    _prepare_forward_mode()

    def along(tangent: Tensor) -> Tensor:
        image: Tensor = torch.func.jvp(lambda z: step(x, z), (before,), (tangent,))[1]
        return image

    images: Tensor = torch.func.vmap(along, in_dims=2, out_dims=2)(tangents)
    return images


def dense_jacobian(
    step: FlatStep, x: Float[Tensor, "batch ..."], before: Float[Tensor, "batch state"]
) -> Float[Tensor, "batch state state"]:
    """Return J_t of each sequence; entry [b, i, j] is the derivative of unit i after by unit j before."""
    size = before.shape[1]
    rows = torch.eye(size, dtype=before.dtype, device=before.device)[:, None].expand(-1, len(before), -1)
    return pull_back(step, x, before, rows).transpose(0, 1)


def dense_jacobians(
    step: FlatStep, inputs: Float[Tensor, "time batch ..."], before: Float[Tensor, "time batch state"]
) -> Float[Tensor, "time batch state state"]:
    """Return J_t of every time at once, from the full states z_{t-1} before each."""
    # Mapped and not flattened into the batch: a step may have something of its own for each sequence.
    jacobians: Tensor = torch.func.vmap(lambda x, z: dense_jacobian(step, x, z))(inputs, before)
    return jacobians


def tangent_maps(
    step: FlatStep,
    inputs: Float[Tensor, "time batch ..."],
    full: Float[Tensor, "batch state"],
    columns: int,
) -> Iterator[Callable[[Tensor], Tensor]]:
    """Yield V -> J_t V of one time after the other, for V of about so many columns.

    Where the state is small, or there are nearly as many columns as it has units, the Jacobians of many times are
    formed at once, and a time is one matrix product. A large state's few leading directions are pushed forward by
    themselves, and no Jacobian is formed.
    """
    size = full.shape[1]
    dense = size <= max(_SMALL, 2 * columns)
    held = max(1, _HELD // (len(full) * size * size)) if dense else 1
    for block in torch.split(inputs, held):
        before = [full]
        for x in block:
            before.append(step(x, before[-1]))
        full = before.pop()
        if dense:
            yield from (jacobian.matmul for jacobian in dense_jacobians(step, block, torch.stack(before)))
        else:
            yield functools.partial(push_forward, step, block[0], before[0])


@functools.cache
def _prepare_forward_mode() -> None:
    """Let torch load what its forward mode needs, without the DeprecationWarning that its own loading gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))

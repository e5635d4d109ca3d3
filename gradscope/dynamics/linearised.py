"""Products with a Jacobian, which is never formed: tangents go forward, covectors go back."""

import functools
import warnings

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.dynamics.full_state import FlatStep


def push_forward(
    step: FlatStep,
    x: Float[Tensor, "batch ..."],
    before: Float[Tensor, "batch state"],
    tangents: Float[Tensor, "batch state columns"],
) -> tuple[Float[Tensor, "batch state"], Float[Tensor, "batch state columns"]]:
    """Return z_t and J_t V, the images of each sequence's tangent vectors."""
    _prepare_forward_mode()

    def along(tangent: Tensor) -> tuple[Tensor, Tensor]:
        both = torch.func.jvp(lambda z: step(x, z), (before,), (tangent,))
        return both[0], both[1]

    # What does not depend on the tangent is computed once; torch's annotation forgets that None may stand in a tuple.
    after, images = torch.func.vmap(along, in_dims=2, out_dims=(None, 2))(tangents)  # type: ignore[arg-type]
    return after, images


def pull_back(
    step: FlatStep,
    x: Float[Tensor, "batch ..."],
    before: Float[Tensor, "batch state"],
    covectors: Float[Tensor, "rows batch state"],
) -> Float[Tensor, "rows batch state"]:
    """Return J_t^T a for each of many gradients a that arrive at z_t."""
    pull = torch.func.vjp(lambda z: step(x, z), before)[1]
    back: Tensor = torch.func.vmap(lambda covector: pull(covector)[0])(covectors)
    return back


@functools.cache
def _prepare_forward_mode() -> None:
    """Let torch load what its forward mode needs, without the DeprecationWarning that its own loading gives."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))

"""Gradients of the parameters: before clipping, as the optimiser got them, and what the update did."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.instrument.norms import vector_norm

PARAMETER_COLUMNS = ("gradient_norm", "clipped_gradient_norm", "weight_norm", "update_norm")
CLIP_COLUMNS = ("gradient_norm", "clipped_gradient_norm", "clip_coefficient", "clip_cosine")


class ParameterRows(NamedTuple):
    """One iteration of the parameters: `PARAMETER_COLUMNS` of each, and `CLIP_COLUMNS` over all of them."""

    names: list[str]
    columns: Float[Tensor, "parameter 4"]
    clip: Float[Tensor, "4"]


class ParameterWatch:
    """The parameters in one recorded iteration.

    Clipping needs no call of ours: gradients are copied when a backward pass ends and compared with what the optimiser
    is given; whatever happened in between was clipping.

    Args:
        parameters: name to parameter.
        arrived: called whenever a gradient has been accumulated.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], arrived: Callable[[], None]) -> None:
        self._parameters = {name: p for name, p in parameters.items() if p.requires_grad}
        self._before: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._given: dict[str, tuple[Tensor, Tensor, Tensor]] | None = None

        def hook(_: Tensor) -> None:
            arrived()

        self._handles = [
            parameter.register_post_accumulate_grad_hook(hook)  # type: ignore[no-untyped-call]
            for parameter in self._parameters.values()
        ]

    def remove_hooks(self) -> None:
        """Take the hooks off the parameters."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def copy_gradients(self, scale: Tensor | None) -> None:
        """Keep the gradients as the backward pass left them, divided by the loss scale of mixed precision."""
        self._before = {name: gradient.clone() for name, gradient in self._gradients().items()}
        if scale is not None:
            for gradient in self._before.values():
                gradient.div_(scale.to(gradient.device))

    def before_update(self, *, gradients_are_final: bool) -> None:
        """Copy the weights and, unless a closure will compute them anew, measure the gradients that are given."""
        self._weights = {name: p.detach().clone() for name, p in self._parameters.items()}
        if gradients_are_final:
            self._measure()

    def after_update(self) -> ParameterRows | None:
        """Return what happened to the parameters, or None if none had a gradient."""
        if self._given is None:
            self._measure()
        if not self._given:
            return None
        names, (before, after, product) = list(self._given), map(torch.stack, zip(*self._given.values(), strict=True))
        weights = torch.stack([_norm(self._weights[name]) for name in names])
        updates = torch.stack([_norm(self._parameters[name].detach() - self._weights[name]) for name in names])
        norm, clipped = torch.linalg.vector_norm(before), torch.linalg.vector_norm(after)
        cosine = (product * (before / norm) * (after / clipped)).nansum()
        return ParameterRows(
            names,
            torch.stack((before, after, weights, updates), dim=1),
            torch.stack((norm, clipped, clipped / norm, cosine)),
        )

    def _gradients(self) -> dict[str, Tensor]:
        found = {name: p.grad.detach() for name, p in self._parameters.items() if p.grad is not None}
        return {name: g.coalesce().values() if g.is_sparse else g for name, g in found.items()}

    def _measure(self) -> None:
        self._given = {}
        for name, given in self._gradients().items():
            before = self._before.get(name)
            if before is None or before.shape != given.shape:
                continue  # It got its gradient by another way than a backward pass: nothing to compare with.
            self._given[name] = _norm(before), _norm(given), _cosine(before, given)


def _norm(tensor: Tensor) -> Float[Tensor, ""]:
    return vector_norm(tensor.flatten())


def _cosine(left: Tensor, right: Tensor) -> Float[Tensor, ""]:
    # Each is brought to a largest entry of 1: the product of two small float32 numbers would underflow.
    left, right = (t.flatten() / t.abs().max().clamp_min(torch.finfo(t.dtype).tiny) for t in (left, right))
    product: Tensor = torch.linalg.vector_norm(left) * torch.linalg.vector_norm(right)
    return torch.dot(left, right).double() / product.double()

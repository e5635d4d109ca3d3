"""Gradients of the parameters: before clipping, as the optimiser got them, and what the update did."""

import weakref
from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.instrument.norms import dot, norms

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
        arrived: a method, called whenever a gradient has been accumulated.
    """

    def __init__(self, parameters: Mapping[str, nn.Parameter], arrived: Callable[[], object]) -> None:
        self._parameters = {name: p for name, p in parameters.items() if p.requires_grad and p.numel()}
        self._before: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._given: _Given | None = None

        # Weakly: Python's collector does not see through a parameter's hooks, and a recorder that they held would
        # outlive a model that nobody holds any more.
        reference = weakref.WeakMethod(arrived)

        def hook(_: Tensor) -> None:
            notify = reference()
            if notify is not None:
                notify()

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
            self._given = self._measure()

    def after_update(self) -> ParameterRows | None:
        """Return what happened to the parameters, or None if none had a gradient."""
        given = self._given or self._measure()
        if given is None:
            return None
        old = [self._weights[name] for name in given.names]
        updates = torch._foreach_sub([self._parameters[name].detach() for name in given.names], old)
        columns = torch.stack((given.before, given.after, norms(old), norms(updates)), dim=1)
        return ParameterRows(given.names, columns, given.clip)

    def _gradients(self) -> dict[str, Tensor]:
        found = {name: p.grad.detach() for name, p in self._parameters.items() if p.grad is not None}
        return {name: g.coalesce().values() if g.is_sparse else g for name, g in found.items()}

    def _measure(self) -> "_Given | None":
        given = self._gradients()
        # A gradient that came by another way than a backward pass has nothing to be compared with.
        names = [name for name in given if name in self._before and self._before[name].shape == given[name].shape]
        if not names:
            return None
        before, after = [self._before[name] for name in names], [given[name] for name in names]
        norms_before, norms_after = norms(before), norms(after)
        total, total_after = torch.linalg.vector_norm(norms_before), torch.linalg.vector_norm(norms_after)
        cosine = dot(before, after, norms_before, norms_after) / (total * total_after)
        return _Given(names, norms_before, norms_after, torch.stack((total, total_after, total_after / total, cosine)))


class _Given(NamedTuple):
    names: list[str]
    before: Float[Tensor, " parameter"]
    after: Float[Tensor, " parameter"]
    clip: Float[Tensor, "4"]

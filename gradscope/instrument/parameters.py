"""Gradients of the parameters: before clipping, as the optimiser got them, and what the update did."""

import weakref
from collections.abc import Callable, Mapping, Sequence
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
        self._given: list[_Given] = []

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

    def before_update(self, of: set[int] | None, *, gradients_are_final: bool) -> None:
        """Copy the weights and, unless a closure will compute them anew, measure the gradients that are given.

        Args:
            of: ids of the parameters that are about to be updated; None for all that have not been yet.
            gradients_are_final: whether no closure will compute them anew.
        """
        names = [name for name, p in self._parameters.items() if of is None or id(p) in of]
        names = [name for name in names if name not in self._weights]
        self._weights.update({name: self._parameters[name].detach().clone() for name in names})
        given = self._measure(names) if gradients_are_final else None
        if given is not None:
            self._given.append(given)

    def after_update(self) -> ParameterRows | None:
        """Return what happened to the parameters, or None if none had a gradient."""
        measured = {name for given in self._given for name in given.names}
        late = self._measure([name for name in self._weights if name not in measured])
        parts = [*self._given, late] if late is not None else self._given
        if not parts:
            return None
        names = [name for part in parts for name in part.names]
        before, after = torch.cat([part.before for part in parts]), torch.cat([part.after for part in parts])
        product = torch.stack([part.product.to(before.device) for part in parts]).sum()
        old = [self._weights[name] for name in names]
        updates = torch._foreach_sub([self._parameters[name].detach() for name in names], old)
        columns = torch.stack((before, after, norms(old), norms(updates)), dim=1)
        total, total_after = torch.linalg.vector_norm(before), torch.linalg.vector_norm(after)
        clip = torch.stack((total, total_after, total_after / total, product / (total * total_after)))
        return ParameterRows(names, columns, clip)

    def _gradients(self) -> dict[str, Tensor]:
        found = {name: p.grad.detach() for name, p in self._parameters.items() if p.grad is not None}
        return {name: g.coalesce().values() if g.is_sparse else g for name, g in found.items()}

    def _measure(self, of: Sequence[str]) -> "_Given | None":
        given = {name: gradient for name, gradient in self._gradients().items() if name in set(of)}
        # A gradient that came by another way than a backward pass has nothing to be compared with.
        names = [name for name in given if name in self._before and self._before[name].shape == given[name].shape]
        if not names:
            return None
        before, after = [self._before[name] for name in names], [given[name] for name in names]
        norms_before, norms_after = norms(before), norms(after)
        return _Given(names, norms_before, norms_after, dot(before, after, norms_before, norms_after))


class _Given(NamedTuple):
    names: list[str]
    before: Float[Tensor, " parameter"]
    after: Float[Tensor, " parameter"]
    product: Float[Tensor, ""]

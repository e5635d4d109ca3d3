"""Gradients of the parameters: before clipping, as the optimiser got them, and what the update did."""

import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.instrument.also import MicroBatches, recurrent_radius, unit_norms
from gradscope.instrument.nonfinite import is_finite
from gradscope.instrument.norms import dot, norms

PARAMETER_COLUMNS = ("gradient_norm", "clipped_gradient_norm", "weight_norm", "update_norm")
CLIP_COLUMNS = ("gradient_norm", "clipped_gradient_norm", "clip_coefficient", "clip_cosine")


class ParameterRows(NamedTuple):
    """One iteration of the parameters: `PARAMETER_COLUMNS` of each, and `CLIP_COLUMNS` over all of them.

    Only where it was asked for: spectral radius of each, norms of the units of each, number and norm of micro-batches.
    """

    names: list[str]
    columns: Float[Tensor, "parameter 4"]
    clip: Float[Tensor, "4"]
    radii: Float[Tensor, " parameter"] | None = None
    unit_gradients: list[Tensor] | None = None
    unit_weights: list[Tensor] | None = None
    micro: tuple[int, Tensor] | None = None


@dataclass(frozen=True, eq=False)
class ParameterChanges:
    """Copies of what happened to the parameters in one iteration; the lists go parallel.

    Attributes:
        names: of the parameters.
        before: gradients as the backward pass left them.
        given: gradients as the optimiser got them.
        weights: before the update.
        updates: what the update added to them.
        also: what else was asked for, see `Also`.
        micro: the backward passes that the gradients are the sum of, where that was asked for.
    """

    names: list[str]
    before: list[Tensor]
    given: list[Tensor]
    weights: list[Tensor]
    updates: list[Tensor]
    also: frozenset[str] = field(default_factory=frozenset)
    micro: MicroBatches | None = None

    @property
    def nbytes(self) -> int:
        """Return how many bytes the copies take."""
        return sum(
            tensor.nbytes for copies in (self.before, self.given, self.weights, self.updates) for tensor in copies
        )

    def measured(self) -> ParameterRows:
        """Return norms, clip coefficient and cosine."""
        # All in one call: what is measured is small, and a call costs more than it.
        columns = norms([*self.before, *self.given, *self.weights, *self.updates]).view(4, -1).T
        before, given = columns[:, 0], columns[:, 1]
        total, total_given = torch.linalg.vector_norm(before), torch.linalg.vector_norm(given)
        product = dot(self.before, self.given, before, given)
        clip = torch.stack((total, total_given, total_given / total, product / (total * total_given)))
        rows = ParameterRows(self.names, columns, clip)
        if "spectral-radius" in self.also:
            radii = [recurrent_radius(name, weight) for name, weight in zip(self.names, self.weights, strict=True)]
            rows = rows._replace(radii=torch.stack(radii))
        if "unit-norms" in self.also:
            gradients, weights = ([unit_norms(value) for value in values] for values in (self.before, self.weights))
            rows = rows._replace(unit_gradients=gradients, unit_weights=weights)
        if self.micro is not None and self.micro.norms:
            rows = rows._replace(micro=(len(self.micro.norms), self.micro.norm()))
        return rows


class ParameterWatch:
    """The parameters in one recorded iteration. Here they are copied only, under no_grad; measuring can wait.

    Clipping needs no call of ours: gradients are copied when a backward pass ends and compared with what the optimiser
    is given; whatever happened in between was clipping.

    Args:
        parameters: name to parameter.
        arrived: a method, called whenever a gradient has been accumulated.
        also: what else is asked for, see `Also`.
    """

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        arrived: Callable[[], object],
        also: frozenset[str] = frozenset(),
    ) -> None:
        self._all = parameters
        self._parameters = _trained(parameters)
        self._also = also
        self._micro: MicroBatches | None = None
        self.begin()

        # Weakly: Python's collector does not see through a parameter's hooks, and a recorder that they held would
        # outlive a model that nobody holds any more.
        notify, watch = weakref.WeakMethod(arrived), weakref.ref(self)

        def hook(name: str, _: Tensor) -> None:
            arrived, this = notify(), watch()
            if arrived is not None and this is not None:
                this._arrived.add(name)
                arrived()

        self._handles = [
            parameter.register_post_accumulate_grad_hook(partial(hook, name))  # type: ignore[no-untyped-call]
            for name, parameter in self._parameters.items()
        ]

    def begin(self) -> bool:
        """Forget the iteration before.

        Returns:
            Whether the parameters that are trained are still those with hooks.
        """
        self._arrived: set[str] = set()
        self._before: dict[str, Tensor] = {}
        self._given: dict[str, Tensor] = {}
        self._weights: dict[str, Tensor] = {}
        self._micro = MicroBatches() if "micro-batches" in self._also else None
        return self._parameters.keys() == _trained(self._all).keys()

    def remove_hooks(self) -> None:
        """Take the hooks off the parameters."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def copy_gradients(self, scale: Tensor | None) -> None:
        """Keep the gradients as the backward pass left them, divided by the loss scale of mixed precision.

        Only of parameters that it reached. The others may hold what is of no backward pass any more, clipped already or
        of the iteration before: one by `torch.autograd.grad` reaches none. And only of those whose optimizer has not
        stepped yet: what comes later, as through a discriminator for its generator, is of no step of this iteration.
        """
        arrived, self._arrived = self._arrived - self._given.keys(), set()
        if not arrived:
            return
        new = _copies({name: gradient for name, gradient in self._gradients().items() if name in arrived})
        _divide(new, scale)
        if self._micro is not None:
            self._micro.add(self._before, new)
        self._before.update(new)

    def not_finite(self) -> list[str]:
        """Return whose gradients, as the backward pass left them, are NaN or infinite; only those on the CPU."""
        return [name for name, gradient in self._before.items() if not is_finite(gradient)]

    def without_gradient(self) -> list[str]:
        """Return whose gradients no backward pass of this iteration has brought."""
        return [name for name in self._parameters if name not in self._before]

    def before_update(self, of: set[int] | None, *, gradients_are_final: bool, scale: Tensor | None = None) -> None:
        """Copy the weights and, unless a closure will compute them anew, the gradients that are given.

        Args:
            of: ids of the parameters that are about to be updated; None for all that have not been yet.
            gradients_are_final: whether no closure will compute them anew.
            scale: what the optimiser itself will divide them by, as a fused one does in mixed-precision training.
        """
        new = {
            name: parameter
            for name, parameter in self._parameters.items()
            if name not in self._weights and (of is None or id(parameter) in of)
        }
        self._weights.update(_copies(new))
        if gradients_are_final:
            self._copy_given(new, scale)

    def after_update(self) -> ParameterChanges | None:
        """Return what happened to the parameters, or None if none had a gradient."""
        if later := [name for name in self._weights if name not in self._given]:
            self._copy_given(later)
        # A gradient that came by another way than a backward pass has nothing to be compared with.
        before, given = self._before, self._given
        names = [name for name in given if name in before and before[name].shape == given[name].shape]
        if not names:
            return None
        weights = [self._weights[name] for name in names]
        return ParameterChanges(
            names=names,
            before=[before[name] for name in names],
            given=[given[name] for name in names],
            weights=weights,
            updates=list(torch._foreach_sub([_real(self._parameters[name]) for name in names], weights)),
            also=self._also,
            micro=self._micro,
        )

    def _copy_given(self, of: Iterable[str], scale: Tensor | None = None) -> None:
        gradients = self._gradients()
        new = _copies({name: gradients[name] for name in of if name in gradients})
        _divide(new, scale)
        self._given.update(new)

    def _gradients(self) -> dict[str, Tensor]:
        found = {name: p.grad for name, p in self._parameters.items() if p.grad is not None}
        return {name: g.coalesce().values() if g.is_sparse else g for name, g in found.items()}


def _trained(parameters: Mapping[str, nn.Parameter]) -> dict[str, nn.Parameter]:
    return {name: p for name, p in parameters.items() if p.requires_grad and p.numel()}


def _copies(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    copied = torch._foreach_clone([_real(tensor) for tensor in tensors.values()]) if tensors else ()
    return dict(zip(tensors, copied, strict=True))


def _divide(gradients: Mapping[str, Tensor], scale: Tensor | None) -> None:
    if scale is not None:
        for gradient in gradients.values():
            gradient.div_(scale.to(gradient.device))


def _real(tensor: Tensor) -> Tensor:
    # Of a complex number both parts: norms and cosines over all numbers are the same.
    return torch.view_as_real(tensor) if tensor.is_complex() else tensor

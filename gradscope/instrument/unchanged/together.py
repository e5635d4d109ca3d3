"""What a training updates together: found among all modules that are alive, by the parameters of optimisers."""

import gc
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from torch import nn
from torch.amp import GradScaler
from torch.nn.parallel import DistributedDataParallel
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from gradscope.instrument.inert import InertWhenCopied

if TYPE_CHECKING:
    from types import FrameType

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Together:
    """Modules and the optimisers that update them.

    Attributes:
        model: the outermost module; where several outermost ones share an optimiser, all of them under their names.
        optimizers: in the order in which they were made.
        scaler: the only one that there is, of mixed precision.
    """

    model: nn.Module
    optimizers: list[Optimizer]
    scaler: GradScaler | None

    @property
    def name(self) -> str:
        """What to call it in a message."""
        kinds = [type(each).__name__ for each in self.model.children()]
        return " with ".join(kinds) if type(self.model) is nn.ModuleDict else type(self.model).__name__

    @property
    def is_watched(self) -> bool:
        """Whether the script watches it by itself."""
        hooks = [hook for each in self.optimizers for hook in each._optimizer_step_pre_hooks.values()]
        hooks += [hook for each in self.model.modules() for hook in each._forward_hooks.values()]
        return any(isinstance(hook, InertWhenCopied) for hook in hooks)

    @property
    def has_no_shape_yet(self) -> bool:
        """Whether a lazy module in it waits for its first call."""
        return any(isinstance(each, UninitializedParameter) for each in self.model.parameters())


def parameters_of(optimizer: Optimizer) -> set[int]:
    """Return the identities of what an optimiser updates."""
    return {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}


def trained_together(
    parameters: set[int], optimizers: Sequence[Optimizer], called: nn.Module | None
) -> Together | None:
    """Return everything that is updated together with some parameters.

    Modules belong together if an optimiser updates parameters of both; so do optimisers of parts of one module.

    Args:
        parameters: identities of some.
        optimizers: all that there are.
        called: the module that was called, if one was.

    Returns:
        None if no module holds what the optimisers update.
    """
    outermost = _outermost(called)
    reached, joined, models = set(parameters), list[Optimizer](), list[nn.Module]()
    while more := [each for each in _without(optimizers, joined) if reached & parameters_of(each)]:
        joined += more
        updated = set[int]().union(*map(parameters_of, joined))
        for model in outermost:
            held = _held(models)
            if updated & _held([model]) - held:
                models.append(model)
        reached |= updated | _held(models)
    if not models:
        return None
    inner = [_unwrapped(model) for model in models]
    scalers = [scaler for scaler in _alive(GradScaler) if scaler.is_enabled()]
    return Together(
        inner[0] if len(inner) == 1 else nn.ModuleDict(_named(models, inner)),
        [each for each in optimizers if any(each is one for one in joined)],
        scalers[0] if len(scalers) == 1 else None,
    )


def _outermost(called: nn.Module | None) -> list[nn.Module]:
    """Return the modules that are inside no other: first that with the module called, then the larger ones."""
    modules = [each for each in _alive(nn.Module) if "_modules" in vars(each)]  # One that is half made has none.
    if called is not None and not any(called is module for module in modules):
        modules.append(called)  # gc.freeze() hides what was there before.
    inside = {id(child) for module in modules for child in module.children()}
    outermost = [module for module in modules if id(module) not in inside]

    def order(module: nn.Module) -> tuple[bool, int]:
        return not any(called is each for each in module.modules()), -len(_held([module]))

    return sorted(outermost, key=order)


def _alive(kind: type[T]) -> list[T]:
    # By its type: what an object says of its class may be code of the user's.
    return [each for each in gc.get_objects() if issubclass(type(each), kind)]


def _held(models: Iterable[nn.Module]) -> set[int]:
    return {id(parameter) for model in models for parameter in model.parameters()}


def _without(optimizers: Sequence[Optimizer], joined: Sequence[Optimizer]) -> list[Optimizer]:
    return [each for each in optimizers if not any(each is one for one in joined)]


def _unwrapped(model: nn.Module) -> nn.Module:
    """Return the module inside wrappers, so that layers have the same names with them and without."""
    compiled = getattr(model, "_orig_mod", None)
    if isinstance(compiled, nn.Module):
        return _unwrapped(compiled)
    alone = isinstance(model, nn.DataParallel) and len(model.device_ids) <= 1
    wraps = alone or isinstance(model, DistributedDataParallel)
    return _unwrapped(cast("nn.Module", model.module)) if wraps else model


def _named(models: Sequence[nn.Module], inner: Sequence[nn.Module]) -> Mapping[str, nn.Module]:
    """Return modules under the names of the variables that hold them, or else of their classes."""
    named: dict[str, nn.Module] = {}
    for model, each in zip(models, inner, strict=True):
        name = _variable(model) or type(each).__name__.lower()
        while name in named or hasattr(nn.ModuleDict, name):
            name += "_"
        named[name] = each
    return named


def _variable(model: nn.Module) -> str | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if not frame.f_globals.get("__name__", "").startswith(("gradscope.", "torch.")):
            for name, value in [*frame.f_locals.items(), *frame.f_globals.items()]:
                if value is model and name != "self" and name.isidentifier():
                    return name
        frame = frame.f_back
    return None

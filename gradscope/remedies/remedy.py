"""What a remedy may change in a training that it did not write."""

from collections.abc import Sequence

from torch import nn


class Impossible(Exception):  # noqa: N818 - no error: the remedy does not fit this model, and the message says why
    """The remedy cannot be tried on this model; it is reported as not tried, with this reason."""


class Remedy:
    """Changes one thing in a training. The base class changes nothing.

    Args:
        name: as it is reported.
        meaning: what it does, in a sentence without its full stop.
        reference: who proposed it.

    Attributes:
        needs_optimizer: it acts in the steps of a torch optimiser; where there are none it is reported as not tried.
        reach: how many times back it lets the gradient at most; None where it cuts nothing off.
    """

    needs_optimizer = False
    reach: int | None = None

    def __init__(self, name: str, meaning: str, reference: str = "") -> None:
        self.name = name
        self.meaning = meaning
        self.reference = reference

    def prepare(self, model: nn.Module, lag: int | None) -> None:
        """Change a model as the factory made it, in place.

        Args:
            model: before its first iteration.
            lag: how far back the task looks, where that is known.

        Raises:
            Impossible: the model has no such part, or its shapes do not allow it.
        """

    def clip(self, parameters: Sequence[nn.Parameter]) -> None:
        """Change the gradients before an optimiser's step: after whatever the user does to them."""

    def rate_factor(self, iteration: int, iterations: int) -> float:
        """Return by what the optimiser's own learning rate is multiplied in an iteration."""
        del iteration, iterations
        return 1.0


UNCHANGED = Remedy("unchanged", "the training as it is")
"""What every remedy is compared with."""


def recurrent_modules(model: nn.Module, *kinds: type[nn.RNNBase]) -> list[tuple[str, nn.RNNBase]]:
    """Return path and module of every nn.RNN, nn.LSTM and nn.GRU of the given kinds.

    Raises:
        Impossible: there is none.
    """
    every = [(path, module) for path, module in model.named_modules() if isinstance(module, nn.RNNBase)]
    found = [(path, module) for path, module in every if isinstance(module, kinds)]
    if not found:
        wanted = " or ".join(f"nn.{kind.__name__}" for kind in kinds)
        there = ", ".join(sorted({f"nn.{type(module).__name__}" for _, module in every}))
        raise Impossible(f"the model holds no {wanted}" + (f": it has {there}" if there else ""))
    return found


def put_in_place(model: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module where another one was.

    Raises:
        Impossible: it is the whole model.
    """
    if not path:
        raise Impossible("the recurrent module is the whole model: put it inside a module of your own")
    outer, _, name = path.rpartition(".")
    setattr(model.get_submodule(outer), name, module)

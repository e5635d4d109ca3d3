"""Parameters that were put in place of those that are watched."""

import weakref
from collections.abc import Iterable, Mapping

from torch import nn

from gradscope.instrument.guard import say


class ReplacedParameters:
    """Says that a parameter without a gradient is not the model's any more.

    Each name is looked up once: going through a model in every recorded iteration would cost a small one as much as the
    rest of a hook.

    Args:
        model: that is watched; it is not held.
        parameters: that are watched, by name.
    """

    def __init__(self, model: nn.Module, parameters: Mapping[str, nn.Parameter]) -> None:
        self._model, self._watched = weakref.ref(model), parameters
        self._looked_up: set[str] = set()

    def look(self, without_gradient: Iterable[str]) -> None:
        """Take note of the parameters that got no gradient in an iteration."""
        model = self._model()
        new = set(without_gradient) - self._looked_up
        if model is None or not new:
            return
        self._looked_up |= new
        current = dict(model.named_parameters())
        replaced = [name for name in self._watched if name in new and current.get(name) is not self._watched[name]]
        if replaced:
            say(
                f"gradscope records no gradients of {', '.join(replaced[:3])}{' and others' if replaced[3:] else ''}: "
                "the model has got new parameters there since gradscope.watch was called, as by load_state_dict(..., "
                "assign=True). An optimizer that was made before updates the old ones. Make it anew, then call watch."
            )

    def forget(self) -> None:
        """Hold no parameter any more."""
        self._watched = {}

"""The loss of a training that logs none: the number on which it calls `backward()`."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn
from torch.amp import GradScaler

from gradscope.instrument.guard import Guard
from gradscope.instrument.recorder import Recorder

_Seen = list[tuple[int, int] | None]


class LossOfModel:
    """Logs what is differentiated with respect to a model: the sum of all that one update goes by.

    Args:
        model: that is watched.
        recorder: of it.
        scaler: what the loss was multiplied by.
    """

    def __init__(self, model: nn.Module, recorder: Recorder, scaler: GradScaler | None) -> None:
        self._parameters = [each for each in model.parameters() if each.requires_grad]
        self._recorder, self._scaler = recorder, scaler
        self._sum: Tensor | None = None
        self._weights = -1

    def gradients(self) -> _Seen:
        """Return what changes when a backward pass reaches the model."""
        return [_seen(each) for each in self._parameters]

    def add(self, loss: Tensor, before: _Seen) -> bool:
        """Log a loss, if its backward pass has reached the model.

        Args:
            loss: that was differentiated.
            before: what `gradients` said before that.

        Returns:
            Whether it has.
        """
        if all(_seen(each) == seen for each, seen in zip(self._parameters, before, strict=True)):
            return False
        weights = sum(each._version for each in self._parameters)
        alone = self._sum is None or weights != self._weights or not any(before)
        value = self._unscaled(loss.detach().reshape(()))
        self._sum = value.clone() if alone or self._sum is None else self._sum + value.to(self._sum.device)
        self._weights = weights
        self._recorder.log(loss=self._sum)
        return True

    def _unscaled(self, loss: Tensor) -> Tensor:
        scale = getattr(self._scaler, "_scale", None)  # None before anything was scaled.
        return loss / scale.to(loss.device) if isinstance(scale, Tensor) else loss


def _seen(parameter: nn.Parameter) -> tuple[int, int] | None:
    gradient = parameter.grad
    return None if gradient is None else (id(gradient), gradient._version)


def listen_to_backward(models: Sequence[LossOfModel], guard: Guard) -> Callable[[], None]:
    """Have the losses of models logged; `torch.autograd.backward` is left alone.

    Args:
        models: that are watched; more may come.
        guard: around what is done beside the training.

    Returns:
        What ends it.
    """
    original = Tensor.backward

    @functools.wraps(original)
    def backward(self: Tensor, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as of PyTorch
        before: list[tuple[LossOfModel, _Seen]] = []
        with guard:
            if self.numel() == 1 and not args and kwargs.get("gradient") is None:
                before = [(model, model.gradients()) for model in models]
        original(self, *args, **kwargs)  # type: ignore[no-untyped-call]
        with guard:
            for model, seen in before:
                model.add(self, seen)

    def end() -> None:
        Tensor.backward = original  # type: ignore[method-assign]

    Tensor.backward = backward  # type: ignore[method-assign]
    return end

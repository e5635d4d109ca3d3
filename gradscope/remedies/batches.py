"""What a model was given, so that two trainings can be compared batch by batch."""

import hashlib
from collections.abc import Mapping
from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence


class SeenBatches:
    """Notes a digest of the first input of every iteration.

    Args:
        model: whose calls are looked at.

    Attributes:
        digests: of the iterations so far; "" for one in which the model was called with no tensor.
    """

    def __init__(self, model: nn.Module) -> None:
        self.digests: list[str] = []
        self._model = model
        self._hook: Any = None
        self._new = True

    def __enter__(self) -> Self:
        self._hook = self._model.register_forward_pre_hook(self._called, with_kwargs=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._hook.remove()

    def end_iteration(self) -> None:
        """The next call begins a new one."""
        if self._new:
            self.digests.append("")
        self._new = True

    def _called(self, _: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if not self._new:
            return
        self._new = False
        first = next((part for part in (*args, *kwargs.values()) if isinstance(part, Tensor | PackedSequence)), None)
        data = first.data if isinstance(first, PackedSequence) else first
        self.digests.append("" if data is None else _digest(data))


def _digest(data: Tensor) -> str:
    content = data.detach().cpu().contiguous().flatten().view(torch.uint8)
    return hashlib.blake2b(content.numpy().tobytes(), digest_size=8).hexdigest()

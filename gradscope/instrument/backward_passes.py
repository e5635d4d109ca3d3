"""Telling the backward passes through one forward call apart."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradscope.instrument.transformed import is_batched

SECOND_ORDER = (
    "a backward pass came after one with create_graph=True. What the gradient of a gradient adds enters inside "
    "PyTorch's fused function, where it cannot be seen; in a loop over cells it can"
)
"""Why such a pass through a fused function is left out."""


class BackwardPasses:
    """The backward passes that went through one forward call.

    Attributes:
        is_second_order: whether the newest one came after one with create_graph=True, and may differentiate it.
        is_batched: whether the newest one brings several gradients at once, as with is_grads_batched=True.
    """

    def __init__(self) -> None:
        self._task: int | None = None
        self._was_differentiable = self.is_second_order = self.is_batched = False

    def is_new(self, gradients: Sequence[Tensor | None]) -> bool:
        """Return whether a hook is called in another pass than the last time, be it a second try of one broken off.

        Args:
            gradients: what the hook was called with.
        """
        task = torch._C._current_graph_task_id()
        if task == self._task:
            return False
        self._task = task
        self.is_second_order = self._was_differentiable
        self.is_batched = is_batched(gradients)
        self._was_differentiable |= torch.is_grad_enabled()  # as under create_graph=True
        return True

"""Telling the backward passes through one forward call apart."""

import torch

SECOND_ORDER = (
    "a backward pass came after one with create_graph=True. What the gradient of a gradient adds enters inside "
    "PyTorch's fused function, where it cannot be seen; in a loop over cells it can"
)
"""Why such a pass through a fused function is left out."""


class BackwardPasses:
    """The backward passes that went through one forward call.

    Attributes:
        is_second_order: whether the newest one came after one with create_graph=True, and may differentiate it.
    """

    def __init__(self) -> None:
        self._task: int | None = None
        self._was_differentiable = self.is_second_order = False

    def is_new(self) -> bool:
        """Return whether a hook is called in another pass than the last time, be it a second try of one broken off."""
        task = torch._C._current_graph_task_id()
        if task == self._task:
            return False
        self._task = task
        self.is_second_order = self._was_differentiable
        self._was_differentiable |= torch.is_grad_enabled()  # as under create_graph=True
        return True

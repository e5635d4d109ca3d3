"""The steps of optimisers: hooks on them, and telling a step from the steps inside it."""

import sys
from collections.abc import Callable, Iterable
from types import FrameType

from torch.optim import Optimizer
from torch.utils.hooks import RemovableHandle

from gradscope.instrument.inert import InertWhenCopied


def hook_steps(
    optimizers: Iterable[Optimizer], before: Callable[..., None], after: Callable[..., None]
) -> list[RemovableHandle]:
    """Have functions called before and after each step of optimisers.

    Args:
        optimizers: that step.
        before: called with the optimiser, and what its `step` was called with.
        after: likewise.

    Returns:
        What takes the hooks off.
    """
    handles = []
    for optimizer in optimizers:
        handles.append(optimizer.register_step_pre_hook(InertWhenCopied(before, in_forward=False)))
        handles.append(optimizer.register_step_post_hook(InertWhenCopied(after, in_forward=False)))
    return handles


class OutermostStep:
    """Knows whether a step that begins is inside another one.

    An optimiser whose `step` calls `super().step()` has its hooks called once for each class. Counting alone would
    never recover from a step that raised: the frame of the outer call, still on the stack or not, is the proof.
    """

    def __init__(self) -> None:
        self._frame: FrameType | None = None
        self._inside = 0

    def begin(self) -> bool:
        """Return whether the step whose hook calls this is the outermost."""
        if self._frame is not None and self._on_stack(self._frame):
            self._inside += 1
            return False
        # 0 is this function, 1 the hook, 2 its InertWhenCopied, 3 PyTorch's wrapper of `step`.
        self._frame, self._inside = sys._getframe(3), 0
        return True

    def end(self) -> bool:
        """Return whether the step that ends is the outermost."""
        if self._inside:
            self._inside -= 1
            return False
        self._frame = None
        return True

    @staticmethod
    def _on_stack(frame: FrameType) -> bool:
        above: FrameType | None = sys._getframe(1)
        while above is not None and above is not frame:
            above = above.f_back
        return above is frame

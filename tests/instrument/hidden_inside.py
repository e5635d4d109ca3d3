"""A layer of which nothing can be seen but what goes in and comes out, as with cuDNN."""

import pytest

from gradscope.instrument.fused import kernel_call


def hide_the_inside(patch: pytest.MonkeyPatch) -> None:
    """Let neither the graph below a layer nor its kernel's memory be read."""
    patch.setattr(kernel_call, "projection_node", lambda *_: None)
    patch.setattr(kernel_call, "kept_memory", lambda *_, **__: None)

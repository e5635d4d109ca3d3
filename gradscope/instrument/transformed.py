"""Whether PyTorch reads a forward pass to make something else of it, which a hook's doings would become part of."""

import torch

UNDER_TORCH_FUNC = "it ran inside a transform of torch.func, whose gradients pass through no graph"

_interpreter = getattr(getattr(torch._C, "_functorch", None), "peek_interpreter_stack", lambda: None)


def is_captured() -> bool:
    """Return whether torch.export or torch.jit.trace writes the forward pass down: no training."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return traced or torch.compiler.is_exporting()


def is_under_torch_func() -> bool:
    """Return whether torch.func.grad, vmap or another of them runs it."""
    return _interpreter() is not None

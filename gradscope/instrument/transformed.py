"""Whether PyTorch reads a forward pass to make something else of it, which a hook's doings would become part of."""

from collections.abc import Iterable

import torch
from torch import Tensor

UNDER_TORCH_FUNC = "it ran inside a transform of torch.func, whose gradients pass through no graph"

BATCHED = (
    "a backward pass with is_grads_batched=True, as of torch.autograd.functional.jacobian with vectorize=True, brings "
    "several gradients at once"
)

_functorch = getattr(torch._C, "_functorch", None)
_BATCHED_KINDS = [getattr(_functorch, name, None) for name in ("is_batchedtensor", "is_legacy_batchedtensor")]
_interpreter = getattr(_functorch, "peek_interpreter_stack", lambda: None)


def is_captured() -> bool:
    """Return whether torch.export or torch.jit.trace writes the forward pass down: no training."""
    traced: bool = torch.jit.is_tracing()  # type: ignore[attr-defined, no-untyped-call]
    return traced or torch.compiler.is_exporting()


def is_under_torch_func() -> bool:
    """Return whether torch.func.grad, vmap or another of them runs it."""
    return _interpreter() is not None


def is_batched(gradients: Iterable[Tensor | None]) -> bool:
    """Return whether gradients of several outputs came in one backward pass, in tensors that cannot be read."""
    present = [gradient for gradient in gradients if gradient is not None]
    return any(kind is not None and kind(gradient) for gradient in present for kind in _BATCHED_KINDS)

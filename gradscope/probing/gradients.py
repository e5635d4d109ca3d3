"""Gradients of tensors on which perhaps nothing depends."""

from collections.abc import Sequence

import torch
from torch import Tensor


def zeros_for_none(tensors: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> list[Tensor]:
    """Return the gradients of tensors, 0 of those that nothing depends on."""
    return [torch.zeros_like(t) if grad is None else grad for t, grad in zip(tensors, gradients, strict=True)]


def pulled_back(outputs: Sequence[Tensor], inputs: Sequence[Tensor], gradients: Sequence[Tensor]) -> list[Tensor]:
    """Return what reaches `inputs` of the gradients of `outputs`: all, nothing over a detach, or a part of it.

    Args:
        outputs: on a graph that is still there; those without one are left out.
        inputs: that they may depend on, or be.
        gradients: of `outputs`.
    """
    # A view that was made under no_grad says that it requires a gradient, and has no graph.
    pairs = [
        (output, gradient)
        for output, gradient in zip(outputs, gradients, strict=True)
        if output.grad_fn is not None or any(output is each for each in inputs)
    ]
    if not pairs:
        return [torch.zeros_like(tensor) for tensor in inputs]
    reaching, arrived = zip(*pairs, strict=True)
    return zeros_for_none(inputs, torch.autograd.grad(reaching, inputs, arrived, retain_graph=True, allow_unused=True))

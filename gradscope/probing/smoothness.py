"""How much the gradient itself changes along a step: where it changes much, a step of usual length leads elsewhere.

Source: Santurkar et al. 2018, arXiv:1805.11604 (how predictive a gradient is); Zhang et al. 2020, arXiv:1905.11881.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gradscope.probing.capture import called, left_as_it_was, without_cudnn

_STEP = 1e-3
_COARSEST = 1e-5
"""Rounding of a dtype in which such a step can still be taken: that of float32 is finer, that of bfloat16 is not."""


def gradient_change(model: nn.Module, inputs: Any, loss: Callable[[Any], Tensor]) -> float:  # noqa: ANN401 - the model's
    """Return by how many per cent the gradient changes for each per cent that a step along it moves the parameters.

    It is |g' - g| / |g| : |w' - w| / |w| over all parameters that have a gradient, after a step of a thousandth of |w|.

    Args:
        model: left as it was.
        inputs: of the model; a tuple is several arguments.
        loss: takes what the model returns and returns one number.

    Returns:
        NaN where there is no gradient, or the parameters' dtype is too coarse for such a step.
    """
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    if not parameters or any(torch.finfo(parameter.dtype).eps > _COARSEST for parameter in parameters):
        return math.nan

    def gradients() -> list[Tensor]:
        with left_as_it_was(model), without_cudnn(), torch.enable_grad():
            found = torch.autograd.grad(loss(called(model, inputs)), parameters, allow_unused=True)
        return [_dense(p, gradient) for p, gradient in zip(parameters, found, strict=True)]

    here = gradients()
    reached = [parameter for parameter, gradient in zip(parameters, here, strict=True) if gradient.any()]
    size, length = _norm(reached), _norm(here)
    if not (0 < size < math.inf and 0 < length < math.inf):
        return math.nan
    with _moved(parameters, here, -_STEP * size / length):
        there = gradients()
    return _norm([b - a for a, b in zip(here, there, strict=True)]) / length / _STEP


def _dense(parameter: nn.Parameter, gradient: Tensor | None) -> Tensor:
    if gradient is None:
        return torch.zeros_like(parameter)
    return gradient.to_dense() if gradient.is_sparse else gradient


@contextmanager
def _moved(parameters: Sequence[nn.Parameter], along: Sequence[Tensor], factor: float) -> Iterator[None]:
    # Through `data`: a graph that the user still holds must not take the parameters for changed.
    before = [parameter.data.clone() for parameter in parameters]
    try:
        for parameter, direction in zip(parameters, along, strict=True):
            parameter.data.add_(direction, alpha=factor)
        yield
    finally:
        for parameter, value in zip(parameters, before, strict=True):
            parameter.data.copy_(value)


def _norm(tensors: Sequence[Tensor]) -> float:
    return math.sqrt(sum(float(tensor.detach().double().square().sum()) for tensor in tensors))

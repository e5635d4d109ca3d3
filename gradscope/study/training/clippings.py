"""What each clipping of the table does, in torch."""

import math
from collections.abc import Callable, Iterator

import numpy as np
from jaxtyping import Float
from torch import Tensor, nn

Clip = Callable[[nn.Module], object]

READOUT = "readout."
"""Prefix of the parameters that `agc` leaves alone."""

_SMALLEST_WEIGHT = 1e-3


def none(_: float | None) -> Clip:
    """Return what leaves the gradient as it is."""
    return lambda _: None


def norm(limit: float | None) -> Clip:
    """Return what scales the gradient down to the norm `limit`."""
    return lambda network: nn.utils.clip_grad_norm_(network.parameters(), _given(limit))


def value(limit: float | None) -> Clip:
    """Return what cuts each component to +-`limit`."""
    return lambda network: nn.utils.clip_grad_value_(network.parameters(), _given(limit))


def autoclip(percentile: float | None) -> Clip:
    """Return what scales down to a percentile of all norms so far, this one among them."""
    norms: list[float] = []

    def clip(network: nn.Module) -> None:
        norms.append(_norm(network))
        limit = float(np.percentile(norms, min(100.0, 10.0 if percentile is None else percentile)))
        _scale_down(network, norms[-1], limit)

    return clip


def zclip(z: float | None) -> Clip:
    """Return what scales norms down that stand out of their moving average."""
    return _ZClip(2.5 if z is None else z)


def agc(ratio: float | None) -> Clip:
    """Return what holds each unit's gradient to a ratio of the unit's weights: a row of a matrix, a whole vector."""
    limit = 0.01 if ratio is None else ratio

    def clip(network: nn.Module) -> None:
        for name, parameter in network.named_parameters():
            if parameter.grad is not None and not name.startswith(READOUT):
                largest = limit * _unit_norm(parameter.detach()).clamp(min=_SMALLEST_WEIGHT)
                length = _unit_norm(parameter.grad).clamp(min=1e-6)
                parameter.grad.mul_((largest / length).clamp(max=1.0))

    return clip


class _ZClip:
    """Algorithm 1 of Kumar et al. 2025.

    With z_t = (|g| - mean) / deviation above z, |g| becomes mean + deviation z^2 / z_t.

    Mean and variance are moving averages (0.97) of the norms after clipping, begun from those of the first 25.
    """

    _KEPT = 0.97
    _WARM_UP = 25

    def __init__(self, z: float) -> None:
        self._z = z
        self._first: list[float] = []
        self._mean = self._variance = math.nan

    def __call__(self, network: nn.Module) -> None:
        length = _norm(network)
        if not math.isfinite(length):
            return
        if len(self._first) < self._WARM_UP:
            self._first.append(length)
            self._mean, self._variance = float(np.mean(self._first)), float(np.var(self._first))
            return
        limit = self._limit(length)
        _scale_down(network, length, limit)
        kept = min(length, limit)
        self._mean = self._KEPT * self._mean + (1 - self._KEPT) * kept
        self._variance = self._KEPT * self._variance + (1 - self._KEPT) * (kept - self._mean) ** 2

    def _limit(self, length: float) -> float:
        deviation = math.sqrt(self._variance) + 1e-6
        z = (length - self._mean) / deviation
        return length if z <= self._z else self._mean + deviation * self._z**2 / z


def _given(limit: float | None) -> float:
    if limit is None:
        raise ValueError("needs a limit")  # the study file is checked before: nobody gets here
    return limit


def _gradients(network: nn.Module) -> Iterator[Tensor]:
    return (parameter.grad for parameter in network.parameters() if parameter.grad is not None)


def _norm(network: nn.Module) -> float:
    return float(nn.utils.get_total_norm(_gradients(network)))


def _scale_down(network: nn.Module, length: float, limit: float) -> None:
    if length > limit:
        for gradient in _gradients(network):
            gradient.mul_(limit / length)


def _unit_norm(tensor: Tensor) -> Float[Tensor, "*unit"]:
    if tensor.ndim <= 1:
        return tensor.square().sum().sqrt()
    return tensor.flatten(1).square().sum(dim=1).sqrt().view(-1, *[1] * (tensor.ndim - 1))

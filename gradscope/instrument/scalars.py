"""The numbers that a user logs."""

import torch
from torch import Tensor

from gradscope.errors import UsageError
from gradscope.instrument.parameters import CLIP_COLUMNS

RESERVED = frozenset({"iteration", "seconds", "micro_batches", "micro_gradient_norm", *CLIP_COLUMNS})
"""Columns of the iterations table that gradscope fills itself."""


def checked_scalar(name: str, value: object) -> float | Tensor:
    """Return a number as it will be written; a tensor as a copy, to be read only then.

    Raises:
        UsageError: the name is taken, or the value is no single number.
    """
    if name in RESERVED:
        raise UsageError(f"log({name}=...) is a column that gradscope fills itself: give it another name.")
    if isinstance(value, Tensor) and _is_single(value):
        return value.detach().reshape(()).clone()
    number = None if isinstance(value, Tensor) else _as_float(value)
    if number is None:
        got = _in_words(value) if isinstance(value, Tensor) else repr(value)
        raise UsageError(f"log({name}=...) expects a single number, got {got}. Log its mean, or its norm.")
    return number


def _is_single(tensor: Tensor) -> bool:
    # A tensor on the meta device has no value.
    return _is_plain(tensor) and tensor.numel() == 1 and not tensor.is_complex() and not tensor.is_meta


def _is_plain(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_nested


def _in_words(tensor: Tensor) -> str:
    if not _is_plain(tensor):
        return f"a {'nested' if tensor.is_nested else str(tensor.layout).removeprefix('torch.')} tensor"
    return f"a tensor of shape {tuple(tensor.shape)}{' on the meta device' if tensor.is_meta else ''}"


def _as_float(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None

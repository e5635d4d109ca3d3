"""The numbers that a user logs."""

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
    if isinstance(value, Tensor) and value.numel() == 1 and not value.is_complex():
        return value.detach().reshape(()).clone()
    number = None if isinstance(value, Tensor) else _as_float(value)
    if number is None:
        got = f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else repr(value)
        raise UsageError(f"log({name}=...) expects a single number, got {got}. Log its mean, or its norm.")
    return number


def _as_float(value: object) -> float | None:
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        return None

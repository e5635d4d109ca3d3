"""What autocast computes in."""

import torch

_DEVICES = ("cpu", "cuda")


def autocast_dtype() -> torch.dtype | None:
    """Return what autocast rounds to at this moment; None outside it."""
    return next((torch.get_autocast_dtype(one) for one in _DEVICES if torch.is_autocast_enabled(one)), None)

"""Bringing small tensors to where a layer computes, without a wait for a GPU to come to the end of its work."""

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device.

    From the CPU's ordinary memory, which may be paged out, a copy is over only when the GPU has done all that it was
    given before. PyTorch holds on to the pinned memory until the copy is over.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)

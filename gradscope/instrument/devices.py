"""Where a model computes, and bringing small tensors there without a wait for a GPU to come to the end of its work."""

import torch
from torch import Tensor, nn


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device.

    From the CPU's ordinary memory, which may be paged out, a copy is over only when the GPU has done all that it was
    given before. PyTorch holds on to the pinned memory until the copy is over.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def computing_device(model: nn.Module) -> torch.device:
    """Return the GPU of a model of which any part is on one: its jobs are in order there, and so is a loss scale."""
    devices = [parameter.device for parameter in model.parameters()]
    return next((device for device in devices if device.type not in ("cpu", "meta")), devices[0])

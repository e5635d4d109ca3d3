"""Whether anybody else could change what a tensor holds.

What is handed to the thread must stay as it is. A copy of each sequence costs a small recurrent layer as much as a
hundredth of its training; memory that nobody else can reach needs none.
"""

import torch
from torch import Tensor

_count_uses = getattr(torch._C, "_storage_Use_Count", None)


def nobody_else_holds(tensor: Tensor, *, references: int) -> bool:
    """Return whether all references to a tensor's memory are ours; False where PyTorch cannot tell.

    Args:
        tensor: whose memory.
        references: how many tensors of ours share it, this one included.
    """
    storage = tensor.untyped_storage()
    if _count_uses is None or not storage.resizable():  # memory that came from NumPy may still be written to there
        return False
    return bool(_count_uses(storage._cdata) <= references + 1)  # `storage` itself is one.

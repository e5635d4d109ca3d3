"""The loss of a task: how far answers lie from what was asked."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.tasks import Batch, Task


def task_loss(answers: Float[Tensor, "answered batch output"], batch: Batch, task: Task) -> Tensor:
    """Return the mean squared error or the cross entropy: the mean over all answers, or summed over the times.

    Args:
        answers: of the network.
        batch: what was asked.
        task: that asked it.
    """
    criterion = nn.MSELoss() if task.kind == "regression" else nn.CrossEntropyLoss()
    targets = torch.from_numpy(batch.targets)
    flat = answers.flatten(0, 1)
    mean: Tensor = criterion(flat, targets.reshape(flat.shape) if task.kind == "regression" else targets.flatten())
    return mean * len(answers) if task.summed else mean

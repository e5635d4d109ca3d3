"""Maps that run by themselves."""

from collections.abc import Hashable, Sequence
from statistics import fmean
from typing import TypeVar

import torch
from jaxtyping import Float
from torch import Tensor

Group = TypeVar("Group", bound=Hashable)


def no_input(time: int, batch: int) -> Float[Tensor, "time batch 0"]:
    """Return the input of a recurrence that has none: it says how many times it runs, and in how many sequences."""
    return torch.zeros(time, batch, 0, dtype=torch.float64)


def by_group(groups: Sequence[Group], values: Sequence[float]) -> dict[Group, float]:
    """Return the mean of the values of each group, groups in the order of their first appearance."""
    return {
        group: fmean(value for other, value in zip(groups, values, strict=True) if other == group) for group in groups
    }

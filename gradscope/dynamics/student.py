"""The interval of a mean over few sequences."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.analysis.student import student_quantile


def mean_interval(
    samples: Float[Tensor, "samples ..."], confidence: float
) -> tuple[Float[Tensor, "..."], Float[Tensor, "..."]]:
    """Return the ends of Student's interval around the mean over the first axis; NaN for a single sample."""
    count = len(samples)
    if count < 2:
        unknown = torch.full_like(samples[0], torch.nan)
        return unknown, unknown
    mean = samples.mean(0)
    half = student_quantile((1 + confidence) / 2, count - 1) * samples.std(0) / math.sqrt(count)
    return mean - half, mean + half

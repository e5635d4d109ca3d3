"""The interval of a mean over few sequences."""

import math
from statistics import NormalDist

import torch
from jaxtyping import Float
from torch import Tensor


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


def student_quantile(probability: float, degrees: int) -> float:
    """Return the quantile of Student's t distribution, to better than 1 % for probabilities up to 0.995.

    Exact for 1 and 2 degrees of freedom, else the expansion 26.7.5 of Abramowitz & Stegun, Handbook of Mathematical
    Functions, 1964.
    """
    if degrees == 1:
        return math.tan(math.pi * (probability - 0.5))
    if degrees == 2:
        centred = 2 * probability - 1
        return centred * math.sqrt(2 / (1 - centred**2))
    z = NormalDist().inv_cdf(probability)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum(term / float(degrees) ** (power + 1) for power, term in enumerate(terms))

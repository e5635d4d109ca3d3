"""What a spectrum of Lyapunov exponents says of the attractor."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def kaplan_yorke_dimension(exponents: Float[Tensor, " exponents"]) -> float:
    """Return j + (lambda_1 + ... + lambda_j) / |lambda_{j+1}|, j being the last index with a sum that is not negative.

    0 if the largest exponent is negative. If no partial sum of the exponents given is negative, their number: with all
    exponents of the system that is the dimension, with the leading ones alone a lower bound.

    Source: Kaplan & Yorke 1979, Chaotic behavior of multidimensional difference equations.
    """
    if not len(exponents) or exponents.isnan().any():
        return math.nan
    descending = exponents.double().sort(descending=True).values
    sums = descending.cumsum(0)
    whole = int((sums >= 0).long().cumprod(0).sum())
    if whole in {0, len(exponents)}:
        return float(whole)
    return whole + float(sums[whole - 1] / descending[whole].abs())


def entropy_rate(exponents: Float[Tensor, " exponents"]) -> float:
    """Return the sum of the positive exponents, in nats per time: Pesin's bound on the Kolmogorov-Sinai entropy.

    NaN where an exponent is.
    """
    if exponents.isnan().any():
        return math.nan
    return float(torch.where(exponents > 0, exponents.double(), 0).sum())


def predictability_time(exponents: Float[Tensor, " exponents"]) -> float:
    """Return ln 2 / lambda_max, in which an error doubles; infinite where the largest exponent is not positive.

    NaN where an exponent is.

    Source: Mikhaeil, Monfared & Durstewitz 2022, arXiv:2110.07238, who recommend it as the length to truncate at.
    """
    largest = float(exponents.max())
    if math.isnan(largest):
        return math.nan
    return math.log(2) / largest if largest > 0 else math.inf

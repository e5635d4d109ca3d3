"""The linear recurrence x_t = a_t * x_{t-1} + b_t, elementwise: an LSTM's cell, and its gradient backwards."""

import torch
from jaxtyping import Float
from torch import Tensor

_FEW_ELEMENTS = 512
"""Where a time has no more than these, an operation a time is mostly waiting for itself to be called."""


def scan(
    factors: Float[Tensor, "time batch units"],
    terms: Float[Tensor, "time batch units"],
    first: Float[Tensor, "batch units"],
) -> None:
    """Replace b_t in `terms` by x_t.

    Args:
        factors: a_t; not changed.
        terms: b_t; become x_t.
        first: x_{-1}.
    """
    terms[0].addcmul_(factors[0], first)
    if terms[0].numel() > _FEW_ELEMENTS:
        at, factor_at = terms.unbind(0), factors.unbind(0)
        for t in range(1, len(at)):
            at[t].addcmul_(factor_at[t], at[t - 1])
        return
    # In log2(T) steps over all times: after each, x_t is right as far as the last `reach` times go, and a_t is their
    # product (Hillis & Steele 1986, https://doi.org/10.1145/7902.7903).
    reach, products = 1, factors.clone()
    while reach < len(terms):
        terms[reach:] = torch.addcmul(terms[reach:], products[reach:], terms[:-reach])
        products[reach:] = products[reach:] * products[:-reach]
        reach *= 2


def scan_back(
    factors: Float[Tensor, "time batch units"],
    terms: Float[Tensor, "time batch units"],
) -> None:
    """Replace b_t in `terms` by x_t = a_{t+1} * x_{t+1} + b_t, from the last time, where it is b_t, to the first.

    Args:
        factors: a_t; not changed, and that of time 0 not used.
        terms: b_t; become x_t.
    """
    if terms[0].numel() > _FEW_ELEMENTS:
        at, factor_at = terms.unbind(0), factors.unbind(0)
        for t in range(len(at) - 2, -1, -1):
            at[t].addcmul_(factor_at[t + 1], at[t + 1])
        return
    reach, products = 1, factors[1:].clone()
    while reach < len(terms):
        terms[:-reach] = torch.addcmul(terms[:-reach], products, terms[reach:])
        products = products[:-reach] * products[reach:]
        reach *= 2

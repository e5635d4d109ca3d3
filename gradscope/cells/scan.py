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
    if terms[0].numel() > _FEW_ELEMENTS:
        before = first
        for factor, term in zip(factors.unbind(0), terms.unbind(0), strict=True):
            before = term.addcmul_(factor, before)
        return
    terms[0].addcmul_(factors[0], first)
    # In log2(T) steps over all times: after each, x_t is right as far as the last `reach` times go, and a_t is their
    # product (Hillis & Steele 1986, https://doi.org/10.1145/7902.7903).
    reach, products = 1, factors.clone()
    while reach < len(terms):
        terms[reach:] = torch.addcmul(terms[reach:], products[reach:], terms[:-reach])
        products[reach:] = products[reach:] * products[:-reach]
        reach *= 2

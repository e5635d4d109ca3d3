"""The direct gradient of a loop: what the total gradient holds beside what comes through the next state."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from gradscope.instrument.devices import to_device
from gradscope.instrument.loops.links import Link
from gradscope.instrument.norms import vector_norm

_ROUNDING = 4
"""How far two ways to the same gradient may lie apart, in units of the last place: twice the most that was seen."""


def direct_gradient(
    total: Float[Tensor, "time batch hidden"],
    recurrent: Float[Tensor, "time_but_last batch hidden"],
    terms: Float[Tensor, "time_but_last batch"],
    links: Sequence[Link],
    unmoved: Bool[Tensor, " time_but_last"],
    dtype: torch.dtype,
) -> Float[Tensor, "time batch hidden"]:
    """Return e_t = a_t - J_{t+1}^T a_{t+1}.

    The recurrent part is computed a second time, from recomputed gates and in another order than in the backward pass.
    Where nothing enters directly, the two would leave a difference of the order of rounding, which looks like a small
    direct gradient and is none: what is not larger than that is 0.

    Args:
        total: a_t.
        recurrent: J_{t+1}^T a_{t+1} of each time but the last; NaN where it is not known.
        terms: how large the terms are that it is the sum of.
        links: of each time but the last to the next. Nothing is subtracted over a cut.
        unmoved: of each time but the last, whether the next was handed the very same values.
        dtype: that the backward pass computed in.

    Returns:
        e_t, NaN where the state was changed before it was handed on.
    """
    if len(total) == 1:
        return total.clone()
    if any(link is not Link.INTACT for link in links):
        cut, changed, moved = (_where(links, link, total.device) for link in (Link.CUT, Link.CHANGED, Link.MOVED))
        unknown = changed | (moved & ~unmoved)
        recurrent = recurrent.masked_fill(unknown[:, None, None], torch.nan).masked_fill(cut[:, None, None], 0)
        terms = terms.masked_fill(cut[:, None], 0)
    difference = total[:-1] - recurrent
    size = vector_norm(total[:-1]) + terms
    # float16 has few numbers near 0: there they lie as far apart as its smallest one is large.
    numbers = torch.finfo(dtype)
    smallest = numbers.smallest_normal * numbers.eps * math.sqrt(total.shape[2])
    noise = vector_norm(difference) <= (size * numbers.eps + smallest) * _ROUNDING
    return torch.cat((difference.masked_fill_(noise.unsqueeze(2), 0), total[-1:]))


def _where(links: Sequence[Link], link: Link, device: torch.device) -> Bool[Tensor, " time_but_last"]:
    # Made on the CPU, whatever the user's default device is.
    return to_device(torch.tensor([found is link for found in links], device="cpu"), device)


def same_values(
    before: Float[Tensor, "time batch *rest"], after: Float[Tensor, "time batch *rest"]
) -> Bool[Tensor, " time"]:
    """Return at which times two sequences are equal."""
    return (before == after).flatten(1).all(1)

"""How wrong a truncated gradient is, beside the full one, at every truncation length.

The gradient of the recurrent weights is a sum over times, g = sum of g_t. Cut after K times it is the sum over the last
K: biased by what is missing. Cut at random, going on with probability q = 1 - 1/K after each time and dividing what
comes from lag l by q^l, it is right in the mean; the square of a single draw's error is, in the mean, the sum over k, l
of (q^-min(k,l) - 1) <g_k, g_l>. Both follow from the inner products of the g_t.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def truncated_error(gram: Float[Tensor, "time time"]) -> Float[Tensor, " length"]:
    """Return |g_K - g| / |g| of the gradient cut after K = 1 ... T times."""
    # |g_1 + ... + g_m|^2, what is missing if the last T - m times are kept, is the sum of the leading block.
    missing = gram.cumsum(0).cumsum(1).diagonal().clamp_min(0)
    shorter = torch.cat([missing.new_zeros(1), missing[:-1]]).flip(0)
    return (shorter / missing[-1]).sqrt()


def truncated_cosine(gram: Float[Tensor, "time time"]) -> Float[Tensor, " length"]:
    """Return the cosine between the gradient cut after K = 1 ... T times and the full one."""
    backwards = gram.flip(0, 1)
    kept = backwards.cumsum(0).cumsum(1).diagonal().clamp_min(0).sqrt()
    along = backwards.sum(1).cumsum(0)
    return along / (kept * gram.sum().sqrt())


def random_error(gram: Float[Tensor, "time time"]) -> Float[Tensor, " length"]:
    """Return the root of the mean square of |g_random - g| / |g|, cut at random after K = 1 ... T times in the mean.

    At K = 1 it never goes back beyond the last time, and cannot be right: infinite.
    """
    lags = torch.arange(len(gram), dtype=gram.dtype)
    earlier = torch.minimum(lags[:, None], lags[None, :])
    backwards, size = gram.flip(0, 1), gram.sum().sqrt()
    errors = [torch.tensor(torch.inf, dtype=gram.dtype)]
    for length in range(2, len(gram) + 1):
        weights = (1 - 1 / length) ** -earlier - 1
        errors.append((weights * backwards).sum().clamp_min(0).sqrt() / size)
    return torch.stack(errors)

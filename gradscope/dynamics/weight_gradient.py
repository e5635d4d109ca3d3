"""What each time contributes to the gradient of the recurrent weights."""

import torch
from jaxtyping import Float
from torch import Tensor


def weight_gradient_norm(
    preactivation_gradient: Float[Tensor, "time batch rows"],
    hidden_before: Float[Tensor, "time batch hidden"],
    scale: Float[Tensor, " time"],
) -> Float[Tensor, " time"]:
    """Return |delta_t^T h_{t-1}|_F, the Frobenius norm of time t's term in dL/dW_hh, as float64.

    With D = delta_t and H = h_{t-1}, |D^T H|_F^2 = sum over sequences n, m of (D D^T)_nm (H H^T)_nm: the matrix itself
    is never formed, and the cost grows with batch^2 (rows + hidden) in place of batch * rows * hidden. Where the batch
    is the larger, the matrix is formed after all.

    Args:
        preactivation_gradient: delta_t; it is overwritten.
        hidden_before: h_{t-1}.
        scale: a size of delta_t's order, by which it is divided on the way: squares of gradients below 1e-19 would
            vanish in float32. Where it is 0 or not finite, delta_t is taken as it is. For h_{t-1} the same is done.
    """
    scale = _divisor(scale)
    scaled = preactivation_gradient.div_(scale.to(preactivation_gradient.dtype)[:, None, None])
    size = _divisor(hidden_before.abs().amax((1, 2)))  # vector_norm with inf takes twenty times as long on CPU
    hidden_before = hidden_before / size[:, None, None] if _squares_vanish(size) else hidden_before
    batch, rows, hidden = *scaled.shape[1:], hidden_before.shape[2]
    if batch * (rows + hidden) <= rows * hidden:
        gram, hidden_gram = scaled @ scaled.mT, hidden_before @ hidden_before.mT
        squared = torch.linalg.vecdot(gram.flatten(1), hidden_gram.flatten(1))
    else:
        squared = (scaled.mT @ hidden_before).square_().sum((1, 2))
    norm: Tensor = squared.clamp_min_(0).sqrt_().double().mul_(scale)
    return norm.mul_(size) if _squares_vanish(size) else norm


def _divisor(size: Float[Tensor, " time"]) -> Float[Tensor, " time"]:
    return size.where((size > 0) & size.isfinite(), 1)


def _squares_vanish(size: Float[Tensor, " time"]) -> bool:
    # Looked at on CPU only: on a GPU looking would wait for the device.
    return size.device.type != "cpu" or not bool(((size > 1e-9) & (size < 1e9)).all())

"""What each time contributes to the gradient of the recurrent weights."""

from jaxtyping import Float
from torch import Tensor


def weight_gradient_norm(
    preactivation_gradient: Float[Tensor, "time batch rows"],
    hidden_before: Float[Tensor, "time batch hidden"],
) -> Float[Tensor, " time"]:
    """Return |delta_t^T h_{t-1}|_F, the Frobenius norm of time t's term in dL/dW_hh, without forming the matrix.

    |D^T H|_F^2 = sum over (n, m) of (D D^T)_nm (H H^T)_nm, so that the cost grows with batch^2 (rows + hidden) in
    place of batch * rows * hidden; where the batch is the larger, the matrix is formed after all.

    delta_t is scaled to a largest entry of 1 first: squares of gradients below 1e-19 would vanish in float32.
    """
    scale = preactivation_gradient.abs().amax((1, 2), keepdim=True)
    scaled = preactivation_gradient / scale.masked_fill(scale == 0, 1)
    batch, rows, hidden = scaled.shape[1], scaled.shape[2], hidden_before.shape[2]
    if batch * (rows + hidden) <= rows * hidden:
        gram = (scaled @ scaled.mT).mul_(hidden_before @ hidden_before.mT)
        squared = gram.sum((1, 2)).clamp_min_(0)
    else:
        squared = (scaled.mT @ hidden_before).square_().sum((1, 2))
    return squared.sqrt_().mul_(scale[:, 0, 0])

"""Which times the gradient of the recurrent weights comes from.

dL/dW_hh = sum over t of g_t = delta_t^T h_{t-1}, a sum over the batch too, delta_t being the gradient of the recurrent
pre-activations W_hh h_{t-1} + b_hh. Everything below follows from the inner products of the g_t among each other.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.equations import StepWeights, elman_time, gru_time, lstm_time
from gradscope.cells.step_functions import step_weights
from gradscope.errors import UsageError


@torch.no_grad()
def preactivation_gradients(
    module: nn.RNNBase,
    inputs: Float[Tensor, "time batch input"],
    before: Float[Tensor, "time batch full_state"],
    total: Float[Tensor, "time batch full_state"],
    layer: int = 0,
    reverse: bool = False,
) -> Float[Tensor, "time batch rows"]:
    """Return delta_t = dL / d(W_hh h_{t-1} + b_hh) of every time, all times as one batch.

    Args:
        module: nn.RNN, nn.GRU or nn.LSTM.
        inputs: of the layer.
        before: full states z_{t-1} before each time.
        total: total gradients a_t over the full state.
        layer: from 0.
        reverse: the second direction; inputs and states then run backwards too.
    """
    weights = step_weights(module, layer, reverse)
    x, z = inputs.flatten(0, 1), before.flatten(0, 1)
    bias = torch.zeros(len(weights.recurrent), dtype=z.dtype, device=z.device)
    bias = (bias if weights.recurrent_bias is None else weights.recurrent_bias).expand(len(z), -1)

    # The bias is added where W_hh h is: one bias a sequence and time, and its gradient is delta.
    def after(each: Tensor) -> Tensor:
        return _full_state_after(module, weights._replace(recurrent_bias=each), x, z)

    pull = torch.func.vjp(after, bias)[1]
    delta: Tensor = pull(total.flatten(0, 1))[0]
    return delta.reshape(*inputs.shape[:2], -1)


def _full_state_after(module: nn.RNNBase, weights: StepWeights, x: Tensor, z: Tensor) -> Tensor:
    if module.mode == "LSTM":
        outward = weights.recurrent.shape[1]
        return torch.cat(lstm_time(weights, x, (z[:, :outward], z[:, outward:])), dim=-1)
    if module.mode == "GRU":
        return gru_time(weights, x, z)
    return elman_time(weights, x, z, "relu" if module.mode == "RNN_RELU" else "tanh")


def weight_gradient_gram(
    delta: Float[Tensor, "time batch rows"], hidden_before: Float[Tensor, "time batch hidden"]
) -> Float[Tensor, "time time"]:
    """Return the inner products <g_t, g_s> of what each two times contribute to dL/dW_hh, in float64.

    With D = delta and H = h before, <g_t, g_s> = sum over sequences n, m of (D_t D_s^T)_nm (H_t H_s^T)_nm: the matrices
    g_t are never formed, and one time's products with all others are held at once. Where the batch is so large that the
    matrices g_t are the smaller, they are formed after all.

    Args:
        delta: gradients of the recurrent pre-activations.
        hidden_before: h_{t-1}, for an LSTM without c.
    """
    delta, hidden_before = delta.double(), hidden_before.double()
    time, batch, rows, hidden = *delta.shape, hidden_before.shape[2]
    if batch**2 * (rows + hidden) > rows * hidden:
        contributions = (delta.mT @ hidden_before).flatten(1)
        return contributions @ contributions.mT
    all_delta, all_hidden = delta.flatten(0, 1), hidden_before.flatten(0, 1)
    lines = [(d @ all_delta.mT).mul_(h @ all_hidden.mT) for d, h in zip(delta, hidden_before, strict=True)]
    return torch.stack([line.unflatten(1, (time, batch)).sum((0, 2)) for line in lines])


def weight_gradient_shares(gram: Float[Tensor, "time time"]) -> Float[Tensor, " time"]:
    """Return <g_t, g> / |g|^2: each time's signed share in the gradient of the recurrent weights; they sum to 1.

    A negative share is a time that works against the rest. NaN if the gradient is exactly 0.
    """
    return gram.sum(1) / gram.sum()


def gradient_horizon(gram: Float[Tensor, "time time"], tolerance: float = 0.01) -> int:
    """Return the smallest K such that the last K times give dL/dW_hh up to a relative error of `tolerance`.

    Args:
        gram: from `weight_gradient_gram`.
        tolerance: relative to the norm of the whole gradient.

    Returns:
        K between 0 and the number of times; 0 for a gradient of exactly 0.

    Raises:
        UsageError: the tolerance is not in (0, 1), or the products are not all finite.
    """
    if not 0 < tolerance < 1:
        raise UsageError(f"the horizon's tolerance is a share of the gradient, between 0 and 1, got {tolerance:g}")
    if not gram.isfinite().all():
        raise UsageError("there is no horizon: some time contributes a gradient that is not finite")
    # |g_1 + ... + g_m|^2 is the sum of the leading m x m block.
    missing = gram.cumsum(0).cumsum(1).diagonal()
    missing = torch.cat([missing.new_zeros(1), missing])
    small = missing <= tolerance**2 * missing[-1]
    return len(gram) - int(torch.nonzero(small).max())

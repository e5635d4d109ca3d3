"""The weights of one recurrent layer, as PyTorch names and lays them out."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class LayerWeights(NamedTuple):
    """Weights of one layer and direction; `rows` is cell size times number of gates, gates in PyTorch's order.

    `projection` is W_hr of an LSTM with proj_size, whose hidden state is then smaller than its cell.
    """

    input: Float[Tensor, "rows input"]
    recurrent: Float[Tensor, "rows hidden"]
    input_bias: Float[Tensor, " rows"]
    recurrent_bias: Float[Tensor, " rows"]
    projection: Float[Tensor, "hidden units"] | None = None


def layer_weights(tensors: Sequence[Tensor], *, has_biases: bool) -> LayerWeights:
    """Return the weights of a single layer and direction; a missing bias is zero.

    Args:
        tensors: weight_ih, weight_hh, then bias_ih and bias_hh where the layer has them, then weight_hr where it does.
        has_biases: whether it has biases.
    """
    weight_ih, weight_hh, *others = tensors
    if not has_biases:
        others = [weight_ih.new_zeros(weight_ih.shape[0])] * 2 + others
    return LayerWeights(weight_ih, weight_hh, *others)


def project(vectors: Float[Tensor, "*leading size"], weight: Tensor, bias: Tensor) -> Float[Tensor, "*leading rows"]:
    """Return `vectors @ weight.T + bias` as ONE matrix product over all leading axes."""
    flat = torch.addmm(bias, vectors.reshape(-1, vectors.shape[-1]), weight.mT)
    return flat.view(*vectors.shape[:-1], -1)

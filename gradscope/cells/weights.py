"""The weights of one recurrent layer, as PyTorch names and lays them out."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class LayerWeights(NamedTuple):
    """Weights of one layer and direction; `rows` is hidden size times number of gates, gates in PyTorch's order."""

    input: Float[Tensor, "rows input"]
    recurrent: Float[Tensor, "rows hidden"]
    input_bias: Float[Tensor, " rows"]
    recurrent_bias: Float[Tensor, " rows"]


def layer_weights(tensors: Sequence[Tensor], dtype: torch.dtype) -> LayerWeights:
    """Return the weights of a single layer as `dtype`; a missing bias is zero.

    Args:
        tensors: weight_ih, weight_hh and, where the layer has them, bias_ih and bias_hh.
        dtype: what to compute in.
    """
    weight_ih, weight_hh, *biases = (tensor.to(dtype) for tensor in tensors)
    if not biases:
        biases = [weight_ih.new_zeros(weight_ih.shape[0])] * 2
    return LayerWeights(weight_ih, weight_hh, *biases)


def project(vectors: Float[Tensor, "*leading size"], weight: Tensor, bias: Tensor) -> Float[Tensor, "*leading rows"]:
    """Return `vectors @ weight.T + bias` as ONE matrix product over all leading axes."""
    flat = torch.addmm(bias, vectors.reshape(-1, vectors.shape[-1]), weight.mT)
    return flat.view(*vectors.shape[:-1], -1)

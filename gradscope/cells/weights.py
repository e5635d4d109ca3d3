"""The weights of one recurrent layer, as PyTorch names and lays them out."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn


class LayerWeights(NamedTuple):
    """Weights of one layer and direction; `rows` is hidden size times number of gates, gates in PyTorch's order."""

    input: Float[Tensor, "rows input"]
    recurrent: Float[Tensor, "rows hidden"]
    input_bias: Float[Tensor, " rows"]
    recurrent_bias: Float[Tensor, " rows"]


def layer_weights(module: nn.RNNBase, dtype: torch.dtype) -> LayerWeights:
    """Return the weights of a single-layer `module`, detached, as `dtype`; a missing bias is zero."""
    weight_ih, weight_hh = (getattr(module, name).detach().to(dtype) for name in ("weight_ih_l0", "weight_hh_l0"))
    if not module.bias:
        zero = weight_ih.new_zeros(weight_ih.shape[0])
        return LayerWeights(weight_ih, weight_hh, zero, zero)
    bias_ih, bias_hh = (getattr(module, name).detach().to(dtype) for name in ("bias_ih_l0", "bias_hh_l0"))
    return LayerWeights(weight_ih, weight_hh, bias_ih, bias_hh)


def project(vectors: Float[Tensor, "*leading size"], weight: Tensor, bias: Tensor) -> Float[Tensor, "*leading rows"]:
    """Return `vectors @ weight.T + bias` as ONE matrix product over all leading axes."""
    flat = torch.addmm(bias, vectors.reshape(-1, vectors.shape[-1]), weight.mT)
    return flat.view(*vectors.shape[:-1], -1)

"""What one backward pass through one recurrent layer looked like."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False, repr=False)
class Trajectory:
    """Hidden states and gradients of one recurrent layer, one call of it, one backward pass.

    All tensors are detached, on the layer's device, and share no memory with what training will change. Gradients are
    those of the loss as the user gave it, before any clipping.

    Attributes:
        layer: module path and PyTorch's suffix, such as `encoder.l0`.
        iteration: optimiser step, from 0.
        call: which pass through the layer in that iteration, from 0; those of one backward pass count in the order of
            their forward calls.
        hidden: h_t.
        total_gradient: dL/dh_t by every path through time.
        direct_gradient: the part of it that enters at time t itself.
        weight_gradient_norm: Frobenius norm of time t's term in dL/dW_hh.
        saturation: share of the units whose nonlinearity is flat: |tanh| > 0.9, or a relu that is off.
        cell: c_t, for an LSTM.
        cell_gradient: dL/dc_t by every path, for an LSTM.
        gates: name to activation in (0, 1); empty for a plain RNN.
        lengths: number of times that each sequence has, where they differ.
    """

    layer: str
    iteration: int
    call: int
    hidden: Float[Tensor, "time batch hidden"]
    total_gradient: Float[Tensor, "time batch hidden"]
    direct_gradient: Float[Tensor, "time batch hidden"]
    weight_gradient_norm: Float[Tensor, " time"]
    saturation: Float[Tensor, " time"]
    cell: Float[Tensor, "time batch units"] | None = None
    cell_gradient: Float[Tensor, "time batch units"] | None = None
    gates: Mapping[str, Float[Tensor, "time batch units"]] = field(default_factory=dict)
    lengths: Int[Tensor, " batch"] | None = None

    def __repr__(self) -> str:
        time, batch, hidden = self.hidden.shape
        return (
            f"Trajectory(layer={self.layer!r}, iteration={self.iteration}, call={self.call}, "
            f"time={time}, batch={batch}, hidden={hidden}, gates={list(self.gates)})"
        )

"""From the tensors of one backward pass through a loop to what the recorder takes."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.norms import vector_norm
from gradscope.instrument.source import LayerPass
from gradscope.instrument.summary import Summary, openness
from gradscope.instrument.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class LoopPass:
    """One backward pass through one sequence of a loop. What is None is not known.

    Attributes:
        layer: name of the cell or tap.
        hidden: h_t.
        total_gradient: dL/dh_t by every path.
        direct_gradient: the part of it that does not come through the next state; NaN at times where it is not known.
        cell: c_t, where the state has two parts.
        cell_gradient: dL/dc_t by every path.
        gates: name to activation in (0, 1).
        weight_norm: norm of time t's term in dL/dW_hh.
        saturation: share of flat units.
    """

    layer: str
    hidden: Float[Tensor, "time batch hidden"]
    total_gradient: Float[Tensor, "time batch hidden"]
    direct_gradient: Float[Tensor, "time batch hidden"] | None = None
    cell: Float[Tensor, "time batch units"] | None = None
    cell_gradient: Float[Tensor, "time batch units"] | None = None
    gates: Mapping[str, Float[Tensor, "time batch units"]] = field(default_factory=dict)
    weight_norm: Float[Tensor, " time"] | None = None
    saturation: Float[Tensor, " time"] | None = None

    def to_layer_pass(self) -> LayerPass:
        """Return its norms, and how to copy everything."""
        return LayerPass(self.layer, self._summary(), self.hidden, self.total_gradient, self._trajectory)

    def _summary(self) -> Summary:
        return Summary(
            hidden_norm=vector_norm(self.hidden),
            total_norm=vector_norm(self.total_gradient),
            direct_norm=_norm(self.direct_gradient),
            weight_norm=self.weight_norm,
            saturation=self.saturation,
            cell_norm=_norm(self.cell),
            cell_gradient_norm=_norm(self.cell_gradient),
            gates={name: openness(name, gate, None) for name, gate in self.gates.items()},
        )

    def _trajectory(self, iteration: int, call: int, scale: Tensor | None) -> Trajectory:
        divide = 1 if scale is None else scale.to(self.hidden.dtype)
        unknown = torch.full_like(self.hidden, torch.nan)
        direct = unknown if self.direct_gradient is None else self.direct_gradient / divide
        return Trajectory(
            layer=self.layer,
            iteration=iteration,
            call=call,
            hidden=self.hidden.clone(),
            total_gradient=self.total_gradient / divide,
            direct_gradient=direct,
            weight_gradient_norm=unknown[:, 0, 0] if self.weight_norm is None else self.weight_norm / divide,
            saturation=unknown[:, 0, 0] if self.saturation is None else self.saturation.clone(),
            cell=None if self.cell is None else self.cell.clone(),
            cell_gradient=None if self.cell_gradient is None else self.cell_gradient / divide,
            gates={name: gate.clone() for name, gate in self.gates.items()},
        )


def _norm(vectors: Float[Tensor, "time batch hidden"] | None) -> Float[Tensor, "time batch"] | None:
    return None if vectors is None else vector_norm(vectors)

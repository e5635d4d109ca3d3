"""What is kept of a pass for every time: norms, shares, counts. All of it stays on the layer's device."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

CLOSED, OPEN = 0.1, 0.9
"""A gate counts as closed below the one and as open above the other (Karpathy, Johnson & Fei-Fei 2015)."""

FLAT_TANH = 0.9
"""|tanh(u)| above this counts as saturated: its derivative is below 0.19."""

KEEPING = frozenset({"forget", "update"})
"""Gates that multiply the old state: the mean of their logarithm says over how many times it is kept."""


@dataclass(frozen=True, eq=False)
class Summary:
    """Norms of each sequence at each time, and shares over the whole batch.

    Attributes:
        hidden_norm: |h_t|.
        total_norm: |a_t|.
        direct_norm: |e_t|, where it is known.
        weight_norm: norm of time t's term in dL/dW_hh, where it is known.
        saturation: share of flat units, where it is known.
        cell_norm: |c_t|, for an LSTM.
        cell_gradient_norm: |dL/dc_t|, for an LSTM.
        gates: name to (mean, share closed, share open, mean logarithm), the last NaN for those that keep no state.
        exists: which (time, sequence) there are; None where all are. Where one is not, its norms mean nothing.
    """

    hidden_norm: Float[Tensor, "time batch"]
    total_norm: Float[Tensor, "time batch"]
    direct_norm: Float[Tensor, "time batch"] | None = None
    weight_norm: Float[Tensor, " time"] | None = None
    saturation: Float[Tensor, " time"] | None = None
    cell_norm: Float[Tensor, "time batch"] | None = None
    cell_gradient_norm: Float[Tensor, "time batch"] | None = None
    gates: Mapping[str, Float[Tensor, "4 time"]] = field(default_factory=dict)
    exists: Bool[Tensor, "time batch"] | None = None

    @property
    def nonfinite(self) -> Int[Tensor, " time"]:
        """How many sequences have a NaN or an infinity in their state or their total gradient."""
        found = ~(self.hidden_norm + self.total_norm).isfinite()
        return (found if self.exists is None else found & self.exists).sum(1)

    def known(self, name: str) -> Float[Tensor, "..."]:
        """Return one of the quantities that are not always known, NaN where it is not."""
        values: Tensor | None = getattr(self, name)
        return self.hidden_norm.new_full(self.hidden_norm.shape[:1], torch.nan) if values is None else values

    def unscaled(self, scale: Tensor) -> "Summary":
        """Return it with every gradient divided by the loss scale of mixed-precision training."""
        names = ("direct_norm", "total_norm", "weight_norm", "cell_gradient_norm")
        return replace(self, **{name: norm / scale for name in names if (norm := getattr(self, name)) is not None})

    def arranged(self, *, flip: bool, order: Int[Tensor, " batch"] | None) -> "Summary":
        """Return it with times in the opposite order, and sequences in another."""
        if not flip and order is None:
            return self
        changed: dict[str, Any] = {"gates": {name: gate.flip(1) if flip else gate for name, gate in self.gates.items()}}
        for one in fields(self):
            values = getattr(self, one.name)
            if isinstance(values, Tensor):
                values = values if order is None or values.dim() == 1 else values[:, order]
                changed[one.name] = values.flip(0) if flip else values
        return replace(self, **changed)


def over_batch(
    shares: Float[Tensor, "time batch"], exists: Bool[Tensor, "time batch"] | None
) -> Float[Tensor, " time"]:
    """Return the mean over the sequences that there are at each time."""
    if exists is None:
        return shares.mean(1)
    return shares.masked_fill(~exists, 0).sum(1) / exists.sum(1)


def openness(
    name: str, gate: Float[Tensor, "time batch units"], exists: Bool[Tensor, "time batch"] | None
) -> Float[Tensor, "4 time"]:
    """Return the mean of a gate, the shares of it that are closed and open, and its mean logarithm, at each time."""
    compared = torch.empty_like(gate)
    share: list[Callable[[], Tensor]] = [
        lambda: gate,
        lambda: torch.lt(gate, CLOSED, out=compared),
        lambda: torch.gt(gate, OPEN, out=compared),
    ]
    if name in KEEPING:
        share.append(lambda: torch.log(gate, out=compared))
    rows = [_over_all(values(), exists) for values in share]
    return torch.stack(rows if name in KEEPING else [*rows, torch.full_like(rows[0], torch.nan)])


def _over_all(
    values: Float[Tensor, "time batch units"], exists: Bool[Tensor, "time batch"] | None
) -> Float[Tensor, " time"]:
    if exists is None:
        return values.mean((1, 2))  # At once: a third of what one after the other takes.
    return over_batch(values.mean(2), exists)

"""One recurrence that ran in a model: what went in, and what the loss sends to its states."""

from dataclasses import dataclass

from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.step_functions import BoundStep, State


@dataclass(frozen=True)
class LayerPlace:
    """Which layer of a fused module a recurrence is."""

    module: nn.RNNBase
    layer: int
    reverse: bool


@dataclass(frozen=True)
class Recurrence:
    """One call of one layer and direction, or one run of a layer or a cell through a sequence, one time a call.

    Attributes:
        name: module path and PyTorch's suffix, such as `encoder.l0`; of a cell the path alone.
        kind: of the module, in a word.
        call: which call of the forward pass, from 0; calls that make up one sequence count as one.
        step: one time of it.
        inputs: of each time, in the order in which the recurrence runs.
        state: before the first time.
        direct: direct gradients over the full state.
        place: in its fused module; None for a cell.
    """

    name: str
    kind: str
    call: int
    step: BoundStep
    inputs: Float[Tensor, "time batch ..."]
    state: State
    direct: Float[Tensor, "time batch full_state"]
    place: LayerPlace | None = None

    @property
    def reverse(self) -> bool:
        """Runs from the last time of the sequence to the first."""
        return self.place is not None and self.place.reverse

    def first_sequences(self, count: int) -> "Recurrence":
        """Return the same of the first sequences of the batch alone."""
        state = self.state[:count] if isinstance(self.state, Tensor) else tuple(part[:count] for part in self.state)
        return Recurrence(
            self.name,
            self.kind,
            self.call,
            self.step,
            self.inputs[:, :count],
            state,
            self.direct[:, :count],
            self.place,
        )

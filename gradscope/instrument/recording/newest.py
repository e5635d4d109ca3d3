"""Which pass of which iteration it was, and the newest of each layer."""

from collections import Counter
from dataclasses import dataclass

from torch import Tensor

from gradscope.instrument.source import LayerPass
from gradscope.instrument.trajectory import Trajectory


@dataclass(frozen=True, eq=False)
class NumberedPass:
    """A pass and where it belongs.

    Attributes:
        made: the pass.
        iteration: optimiser step.
        call: which pass through the layer in that iteration.
        scale: by which its gradients are too large, in mixed-precision training.
    """

    made: LayerPass
    iteration: int
    call: int
    scale: Tensor | None


class NewestPasses:
    """Counts the passes of each layer, and keeps the last."""

    def __init__(self) -> None:
        self._iteration = 0
        self._count: Counter[str] = Counter()
        self._newest: dict[str, NumberedPass] = {}
        self._copies: dict[str, Trajectory] = {}

    def add(self, made: LayerPass, iteration: int, scale: Tensor | None) -> NumberedPass:
        """Take note of a layer's newest pass; numbers begin at 0 in every iteration.

        Returns:
            The pass with its number.
        """
        if iteration != self._iteration:
            self._iteration = iteration
            self._count.clear()
        numbered = NumberedPass(made, self._iteration, self._count[made.layer], scale)
        self._count[made.layer] += 1
        self._newest[made.layer] = numbered
        self._copies.pop(made.layer, None)
        return numbered

    def trajectories(self) -> dict[str, Trajectory]:
        """Copy everything about the newest pass of each layer.

        Returns:
            Layer name to trajectory.
        """
        for layer, newest in self._newest.items():
            if layer not in self._copies:
                self._copies[layer] = newest.made.trajectory(newest.iteration, newest.call, newest.scale)
        return dict(self._copies)

"""Hidden states and total gradients kept unit by unit until they are written."""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.recording.pass_rows import Values

_FIRST_CAPACITY = 4


class KeptStates:
    """Copies of states, laid out as rows of the table `states`.

    Their memory is used again after each flush: touching fresh memory costs more than copying into what is there.
    """

    def __init__(self) -> None:
        self._blocks: dict[object, _Block] = {}

    def add(
        self,
        layer: str,
        iteration: int,
        call: int,
        hidden: Float[Tensor, "time sequence hidden"],
        gradient: Float[Tensor, "time sequence hidden"],
        scale: Tensor | None,
    ) -> None:
        """Copy one pass; `scale` is what its gradients are divided by."""
        shape = hidden.transpose(0, 1).shape
        key = (shape, hidden.dtype, hidden.device)
        if key not in self._blocks:
            self._blocks[key] = _Block(hidden.new_empty((_FIRST_CAPACITY, *shape)))
        kept, kept_gradient = self._blocks[key].row(layer, iteration, call)
        kept.copy_(hidden.transpose(0, 1))
        kept_gradient.copy_(gradient.transpose(0, 1))
        if scale is not None:
            kept_gradient.div_(scale)

    def columns(self) -> list[dict[str, Values]]:
        """Return blocks of columns; they are valid until `clear`."""
        return [block.columns() for block in self._blocks.values() if block.names]

    def clear(self) -> None:
        """Forget the states, and those layouts of memory that were not in use."""
        self._blocks = {key: block for key, block in self._blocks.items() if block.names}
        for block in self._blocks.values():
            block.names.clear()


class _Block:
    """States of one shape.

    Args:
        hidden: memory, (pass, sequence, time, hidden).
    """

    def __init__(self, hidden: Tensor) -> None:
        self.names: list[tuple[str, int, int]] = []
        self._hidden, self._gradient = hidden, torch.empty_like(hidden)

    def row(self, layer: str, iteration: int, call: int) -> tuple[Tensor, Tensor]:
        """Return where the states and the gradients of another pass go."""
        if len(self.names) == len(self._hidden):
            self._hidden, self._gradient = _twice_as_long(self._hidden), _twice_as_long(self._gradient)
        self.names.append((layer, iteration, call))
        return self._hidden[len(self.names) - 1], self._gradient[len(self.names) - 1]

    def columns(self) -> dict[str, Values]:
        """Return a row for each pass, sequence and time."""
        passes = len(self.names)
        _, sequences, time, units = self._hidden.shape

        def of_each(values: Sequence[object], dtype: type) -> np.ndarray:
            return np.repeat(np.array(values, dtype=dtype), sequences * time)

        layers, iterations, calls = zip(*self.names, strict=True)
        return {
            "iteration": of_each(iterations, int),
            "layer": of_each(layers, object),
            "call": of_each(calls, int),
            "sequence": np.tile(np.repeat(np.arange(sequences), time), passes),
            "time": np.tile(np.arange(time), sequences * passes),
            "hidden": [self._hidden[:passes].reshape(-1, units).cpu().numpy()],
            "total_gradient": [self._gradient[:passes].reshape(-1, units).cpu().numpy()],
        }


def _twice_as_long(memory: Tensor) -> Tensor:
    longer = memory.new_empty((2 * len(memory), *memory.shape[1:]))
    longer[: len(memory)] = memory
    return longer

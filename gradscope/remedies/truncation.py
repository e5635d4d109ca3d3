"""Backpropagation that ends after some times."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradscope.remedies.remedy import Impossible, Remedy, put_in_place, recurrent_modules


class Truncation(Remedy):
    """Cuts the way back through time: each sequence is read in pieces, between which the state is detached.

    Pieces are counted from the end, so that a loss at the last time sends its gradient that many times back.

    Args:
        times: how long a piece is.
    """

    def __init__(self, times: int) -> None:
        super().__init__(
            f"truncate({times})",
            f"the gradient is cut off after {times} times",
            "Williams & Peng 1990; Jaeger 2002",
        )
        self._times = self.reach = times

    def prepare(self, model: nn.Module, lag: int | None) -> None:  # noqa: ARG002
        """Put each module behind one that cuts its input into pieces.

        Raises:
            Impossible: one reads in both directions, so that no piece can be read before the next is known.
        """
        for path, module in recurrent_modules(model, nn.RNN, nn.LSTM, nn.GRU):
            if module.bidirectional:
                raise Impossible(f"{path} reads in both directions")
            put_in_place(model, path, _InPieces(module, self._times))


class _InPieces(nn.Module):
    def __init__(self, module: nn.RNNBase, times: int) -> None:
        super().__init__()
        self.whole = module
        self._times = times

    def forward(self, inputs: Any, state: Any = None) -> tuple[Tensor, Any]:  # noqa: ANN401 - packed or not; h or (h, c)
        if isinstance(inputs, PackedSequence):
            raise Impossible("a PackedSequence is not cut into pieces")
        axis = 1 if inputs.dim() == 3 and self.whole.batch_first else 0
        length = inputs.shape[axis]
        if length <= self._times:
            raise Impossible(f"its sequences are of {length} times: there is nothing to cut off after {self._times}")
        first = length % self._times or self._times
        sizes = [first] + [self._times] * ((length - first) // self._times)
        outputs = []
        for piece in inputs.split(sizes, dim=axis):
            output, state = self.whole(piece, state)
            outputs.append(output)
            last, state = state, _detached(state)
        return torch.cat(outputs, dim=axis), last

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - sizes that the model may ask for
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("whole"), name)


def _detached(state: Any) -> Any:  # noqa: ANN401 - h or (h, c)
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()

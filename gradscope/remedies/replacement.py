"""Another recurrent module in place of an nn.RNN."""

from typing import Any

import torch
from torch import Tensor, nn

from gradscope.remedies.remedy import Remedy, put_in_place, recurrent_modules


class ReplacedByGRU(Remedy):
    """An nn.GRU of the same sizes in place of every nn.RNN; its state has the same shape."""

    def __init__(self) -> None:
        super().__init__(
            "gru", "an nn.GRU of the same sizes in place of every nn.RNN", "Cho et al. 2014, arXiv:1406.1078"
        )

    def prepare(self, model: nn.Module, lag: int | None) -> None:  # noqa: ARG002
        """Replace the modules."""
        for path, module in recurrent_modules(model, nn.RNN):
            put_in_place(model, path, _like(module, nn.GRU))


class ReplacedByLSTM(Remedy):
    """An nn.LSTM of the same sizes in place of every nn.RNN.

    The model goes on to see h alone: a state that it hands in begins with c = 0, and c is not handed out.
    """

    def __init__(self) -> None:
        super().__init__(
            "lstm",
            "an nn.LSTM of the same sizes in place of every nn.RNN",
            "Hochreiter & Schmidhuber 1997, Long Short-Term Memory",
        )

    def prepare(self, model: nn.Module, lag: int | None) -> None:  # noqa: ARG002
        """Replace the modules."""
        for path, module in recurrent_modules(model, nn.RNN):
            put_in_place(model, path, _OnlyHidden(_like(module, nn.LSTM)))


class _OnlyHidden(nn.Module):
    """An nn.LSTM that takes and returns its state as an nn.RNN does."""

    def __init__(self, lstm: nn.RNNBase) -> None:
        super().__init__()
        self.lstm = lstm

    def forward(self, inputs: Any, hidden: Tensor | None = None) -> tuple[Any, Tensor]:  # noqa: ANN401 - packed or not
        state = None if hidden is None else (hidden, torch.zeros_like(hidden))
        output, (last, _) = self.lstm(inputs, state)
        return output, last

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - sizes that the model may ask for
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("lstm"), name)


def _like(module: nn.RNNBase, kind: type[nn.GRU | nn.LSTM]) -> nn.RNNBase:
    weight = next(module.parameters())
    made = kind(
        module.input_size,
        module.hidden_size,
        num_layers=module.num_layers,
        bias=module.bias,
        batch_first=module.batch_first,
        dropout=module.dropout,
        bidirectional=module.bidirectional,
        device=weight.device,
        dtype=weight.dtype,
    )
    return made.train(module.training)

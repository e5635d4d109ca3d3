"""A connection around the nonlinearity, from each time to the next."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

from gradscope.cells.residual_rnn import ResidualRNNCell
from gradscope.cells.step_functions import step_weights
from gradscope.remedies.remedy import Impossible, Remedy, put_in_place, recurrent_modules


class Residual(Remedy):
    """h_t = beta h_{t-1} + alpha tanh(...) in place of h_t = tanh(...), with the weights that the nn.RNN began with."""

    def __init__(self) -> None:
        super().__init__(
            "residual",
            "a way around the nonlinearity: h_t = beta h_{t-1} + alpha tanh(...) in place of h_t = tanh(...)",
            "Kusupati et al. 2018, FastGRNN, arXiv:1901.02358",
        )

    def prepare(self, model: nn.Module, lag: int | None) -> None:  # noqa: ARG002
        """Replace the modules.

        Raises:
            Impossible: one has several layers or directions, or relu.
        """
        for path, module in recurrent_modules(model, nn.RNN):
            if module.num_layers > 1 or module.bidirectional or module.mode != "RNN_TANH":
                raise Impossible(f"{path}: only an nn.RNN with tanh, one layer and one direction is given one")
            put_in_place(model, path, _ResidualLayer(module))


class _ResidualLayer(nn.Module):
    """Takes and returns what the nn.RNN did."""

    def __init__(self, rnn: nn.RNNBase) -> None:
        super().__init__()
        weights = step_weights(rnn)
        self.cell = ResidualRNNCell(rnn.input_size, rnn.hidden_size).to(weights.input)
        self.batch_first, self.hidden_size, self.input_size = rnn.batch_first, rnn.hidden_size, rnn.input_size
        self.num_layers, self.bidirectional = 1, False
        with torch.no_grad():
            self.cell.input.weight.copy_(weights.input)
            self.cell.recurrent.weight.copy_(weights.recurrent)
            self.cell.input.bias.zero_()
            for bias in (weights.input_bias, weights.recurrent_bias):
                if bias is not None:
                    self.cell.input.bias.add_(bias)

    def forward(self, inputs: Any, hidden: Tensor | None = None) -> tuple[Tensor, Tensor]:  # noqa: ANN401 - packed or not
        if isinstance(inputs, PackedSequence):
            raise Impossible("a loop over a cell does not take a PackedSequence")
        if inputs.dim() == 2:
            raise Impossible("a loop over a cell takes a batch, and the input is a single sequence")
        steps = inputs.transpose(0, 1) if self.batch_first else inputs
        state = inputs.new_zeros(steps.shape[1], self.hidden_size) if hidden is None else hidden[0]
        outputs = []
        for step in steps:
            state = self.cell(step, state)
            outputs.append(state)
        return torch.stack(outputs, dim=1 if self.batch_first else 0), state[None]

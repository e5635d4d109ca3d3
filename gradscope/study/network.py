"""The network that every trial trains: one recurrent layer, and a linear read-out of its last output."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from gradscope.cells.initialisations import initialise
from gradscope.study.choice import parse_choice
from gradscope.study.trial import Trial
from gradscope.tasks import Task


class Network(nn.Module):
    """One recurrent layer, named `recurrent`, under a linear layer."""

    def __init__(self, cell: str, input_size: int, hidden: int, output_size: int) -> None:
        super().__init__()
        self.recurrent = _recurrent(cell, input_size, hidden)
        self.readout = nn.Linear(hidden, output_size)

    def forward(self, inputs: Float[Tensor, "time batch input"]) -> Float[Tensor, "batch output"]:
        """Answer once a sequence, at its end.

        Returns:
            The answer to each sequence.
        """
        outputs, _ = self.recurrent(inputs)
        answer: Tensor = self.readout(outputs[-1])
        return answer


def build_network(trial: Trial, task: Task) -> Network:
    """Return the trial's network; its weights follow from the trial's seed and initialisation alone."""
    torch.manual_seed(trial.seed)
    network = Network(trial.cell, task.input_size, trial.hidden, task.output_size)
    name, argument = parse_choice(trial.initialisation)
    if name == "chrono" and argument is None:
        argument = float(trial.length)
    initialise(network.recurrent, name, argument)
    return network


def _recurrent(cell: str, input_size: int, hidden: int) -> nn.RNNBase:
    if cell == "lstm":
        return nn.LSTM(input_size, hidden)
    if cell == "gru":
        return nn.GRU(input_size, hidden)
    return nn.RNN(input_size, hidden, nonlinearity=cell.removeprefix("rnn_"))

"""A model and a training loop of an ordinary user."""

import torch
from torch import nn

from gradscope.remedies.trial import try_remedies

SEEDS = [3, 8]


class Reader(nn.Module):
    """Reads a sequence and answers from its last output."""

    def __init__(self, kind: type = nn.RNN, units: int = 8, **settings: object) -> None:
        super().__init__()
        self.rnn = kind(2, units, batch_first=True, **settings)
        self.head = nn.Linear(units * (1 + self.rnn.bidirectional), 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return (batch, 1)."""
        return self.head(self.rnn(inputs)[0][:, -1])


class Loop:
    """A training loop that notes what its model was given, and how it was updated."""

    def __init__(self, lag: int = 3, length: int = 8, rate: float = 1e-2, optimizer: type = torch.optim.Adam) -> None:
        self.lag, self.length, self.rate, self.optimizer = lag, length, rate, optimizer
        self.given: list[list[torch.Tensor]] = []
        self.started: list[dict[str, torch.Tensor]] = []
        self.norms: list[list[float]] = []
        self.rates: list[list[float]] = []

    def __call__(self, model: nn.Module):
        """Yield the loss of each iteration."""
        self.given.append([])
        self.norms.append([])
        self.rates.append([])
        self.started.append({name: value.detach().clone() for name, value in model.named_parameters()})
        optimizer = self.optimizer(model.parameters(), lr=self.rate)
        optimizer.register_step_post_hook(lambda *_: self._note(model))
        while True:
            inputs = torch.randn(4, self.length, 2)
            self.given[-1].append(inputs)
            optimizer.zero_grad()
            loss = nn.functional.mse_loss(model(inputs), inputs[:, -1 - self.lag, :1])
            loss.backward()
            optimizer.step()
            self.rates[-1].append(optimizer.param_groups[0]["lr"])
            yield loss

    def _note(self, model: nn.Module) -> None:
        squares = [parameter.grad.square().sum() for parameter in model.parameters() if parameter.grad is not None]
        self.norms[-1].append(float(sum(squares) ** 0.5))


def tried(loop, factory, *remedies, iterations=8, lag=None, seeds=SEEDS):
    """Try some remedies."""
    return try_remedies(loop, factory, remedies or None, iterations=iterations, seeds=seeds, lag=lag)

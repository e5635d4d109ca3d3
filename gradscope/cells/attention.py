"""A GRU whose answer looks at all of its outputs.

score_t = v . tanh(A [h_t, h_T] + a), weights = softmax of the scores over t, context = sum of weights times h_t; the
output is [context, h_T]. The gradient of the loss reaches every h_t directly through the context, besides its way
through time.
Bahdanau, Cho & Bengio 2015, arXiv:1409.0473, there between two networks; here within one.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn


class AttendingGRU(nn.Module):
    """A GRU over a whole sequence, then the attention; it answers once, at the end."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        self.gru = nn.GRU(input_size, hidden_size)
        self.join = nn.Linear(2 * hidden_size, hidden_size)
        self.score = nn.Linear(hidden_size, 1, bias=False)
        self.output_size = 2 * hidden_size

    def forward(
        self, inputs: Float[Tensor, "time batch input"], state: Tensor | None = None
    ) -> tuple[Float[Tensor, "1 batch output"], Tensor]:
        """Read a sequence.

        Args:
            inputs: of all times.
            state: to begin from; None for zeros.

        Returns:
            One output, and the last state.
        """
        outputs, after = self.gru(inputs, state)
        weights = self.weights(outputs)
        context = (weights[:, :, None] * outputs).sum(0)
        return torch.cat([context, outputs[-1]], dim=1)[None], after

    def weights(self, outputs: Float[Tensor, "time batch hidden"]) -> Float[Tensor, "time batch"]:
        """Return how much each time counts; the weights of a sequence sum to 1."""
        joined = torch.cat([outputs, outputs[-1:].expand_as(outputs)], dim=2)
        shares: Tensor = self.score(torch.tanh(self.join(joined)))[:, :, 0].softmax(0)
        return shares

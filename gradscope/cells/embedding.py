"""A GRU behind an embedding: each one-hot input becomes a short vector of its own, which is learned."""

from jaxtyping import Float
from torch import Tensor, nn

WIDTH = 32
"""Numbers in an embedding."""


class EmbeddingGRU(nn.Module):
    """An embedding, then nn.GRU."""

    def __init__(self, input_size: int, hidden_size: int) -> None:
        super().__init__()
        # A matrix times a one-hot vector is one of its columns: nn.Embedding for inputs that are one-hot already.
        self.embedding = nn.Linear(input_size, WIDTH, bias=False)
        nn.init.normal_(self.embedding.weight)
        self.gru = nn.GRU(WIDTH, hidden_size)

    def forward(
        self, inputs: Float[Tensor, "time batch input"], state: Tensor | None = None
    ) -> tuple[Float[Tensor, "time batch hidden"], Tensor]:
        """Read a sequence.

        Args:
            inputs: one-hot, of all times.
            state: to begin from; None for zeros.

        Returns:
            The output at each time, and the last state.
        """
        outputs, after = self.gru(self.embedding(inputs), state)
        return outputs, after

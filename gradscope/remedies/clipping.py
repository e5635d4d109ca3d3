"""Clipping of the gradient, by norm and by value."""

from collections.abc import Sequence

from torch import nn

from gradscope.remedies.remedy import Remedy


class ClipNorm(Remedy):
    """Scales the gradient of an optimiser's parameters down to a norm.

    Args:
        limit: the largest norm.
    """

    needs_optimizer = True

    def __init__(self, limit: float) -> None:
        super().__init__(
            f"clip-norm({limit:g})",
            f"the gradient is scaled down to the norm {limit:g}",
            "Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063",
        )
        self._limit = limit

    def clip(self, parameters: Sequence[nn.Parameter]) -> None:
        """Keep the direction."""
        nn.utils.clip_grad_norm_(parameters, self._limit)


class ClipValue(Remedy):
    """Cuts every component of the gradient.

    Args:
        limit: the largest size of a component.
    """

    needs_optimizer = True

    def __init__(self, limit: float) -> None:
        super().__init__(
            f"clip-value({limit:g})",
            f"every component of the gradient is cut to +-{limit:g}",
            "Mikolov 2012, Statistical Language Models Based on Neural Networks",
        )
        self._limit = limit

    def clip(self, parameters: Sequence[nn.Parameter]) -> None:
        """Bend the direction where it cuts."""
        nn.utils.clip_grad_value_(parameters, self._limit)

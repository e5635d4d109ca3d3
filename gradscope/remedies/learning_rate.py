"""A schedule for the learning rate."""

import math

from gradscope.remedies.remedy import Remedy

_WARM_UP = 0.1


class RateSchedule(Remedy):
    """Multiplies the learning rate: up to 1 over the first tenth of the iterations, then down to 0 along a cosine.

    On top of any schedule that the training has itself.
    """

    needs_optimizer = True

    def __init__(self) -> None:
        super().__init__(
            "rate-schedule",
            "the learning rate rises over the first tenth of the iterations and falls to 0 along half a cosine",
            "Loshchilov & Hutter 2017, arXiv:1608.03983; Goyal et al. 2017, arXiv:1706.02677",
        )

    def rate_factor(self, iteration: int, iterations: int) -> float:
        """Return what stands in the class's docstring."""
        rising = max(1, round(_WARM_UP * iterations))
        if iteration < rising:
            return (iteration + 1) / rising
        return (1 + math.cos(math.pi * (iteration - rising) / max(1, iterations - rising))) / 2

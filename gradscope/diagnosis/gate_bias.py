"""Which bias makes a gate keep the state for as long as a task needs."""

import math


def bias_that_keeps(lag: int, share: float = 0.1) -> float:
    """Return the bias b at which a gate of sigmoid(b) keeps a share over a lag: sigmoid(b)^lag = share.

    Args:
        lag: Times over which it has to keep; at least one is taken.
        share: What is to be left, between 0 and 1.
    """
    kept = share ** (1 / max(lag, 1))
    return math.log(kept / (1 - kept))

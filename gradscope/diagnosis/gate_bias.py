"""Which bias makes a gate keep the state for as long as a task needs."""

import math

from gradscope.analysis.wording import steps


def bias_that_keeps(lag: int, share: float = 0.1) -> float:
    """Return the bias b at which a gate of sigmoid(b) keeps a share over a lag: sigmoid(b)^lag = share.

    Args:
        lag: Times over which it has to keep; at least one is taken.
        share: What is to be left, between 0 and 1.
    """
    kept = share ** (1 / max(lag, 1))
    return math.log(kept / (1 - kept))


def larger_bias(lag: int, kept: str = "") -> str:
    """Return which bias to start with, in words: never less than 1, which is larger than what most begin with.

    Args:
        lag: Times over which the gate has to keep.
        kept: Of what it keeps a tenth, with a space before it.
    """
    bias = bias_that_keeps(lag)
    return f"{bias:.1f} keeps a tenth{kept} over {steps(lag)}" if bias >= 1 else "1 is enough here"

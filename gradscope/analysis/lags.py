"""From time to lag: how far back from the loss each norm was measured, sequence by sequence."""

import numpy as np
from jaxtyping import Float, Int


def by_lag(norms: Float[np.ndarray, "time sequence"]) -> Float[np.ndarray, "lag kept"]:
    """Return the norms ordered by lag, each sequence counted back from its own loss.

    A packed sequence is NaN after its end, and where the loss enters before the last time the gradient after it is
    exactly 0: both are no lags. Sequences of less than half the longest length are left out, and the lags
    end with the shortest sequence that is kept, so that every lag is a mean over the same sequences.

    Args:
        norms: Norms of the gradient in order of time. NaN at the end of a sequence means that it is shorter; any other
            value that is not finite is a gradient that is not finite. A zero anywhere but at the end is a zero.
    """
    lengths = sequence_lengths(norms)
    kept = np.flatnonzero(lengths * 2 >= lengths.max(initial=0))
    lags = int(lengths[kept].min(initial=len(norms)))
    times = lengths[kept] - 1 - np.arange(lags)[:, None]
    return norms[times, kept]


def sequence_lengths(norms: Float[np.ndarray, "time sequence"]) -> Int[np.ndarray, " sequence"]:
    """Return each sequence's number of times up to its end: its loss, the last time with a gradient.

    A sequence whose gradient is 0 throughout ends where it is NaN. One that is NaN throughout has not ended early, it
    is not finite.
    """
    not_missing = ~np.isnan(norms)
    has_gradient = not_missing & (norms != 0)
    present = np.where(has_gradient.any(axis=0), has_gradient, not_missing)
    times = np.arange(1, len(norms) + 1)[:, None]
    return np.where(present.any(axis=0), np.max(present * times, axis=0, initial=0), len(norms))


def kept_sequences(norms: Float[np.ndarray, "time sequence"]) -> Int[np.ndarray, " kept"]:
    """Return which sequences `by_lag` keeps."""
    lengths = sequence_lengths(norms)
    return np.flatnonzero(lengths * 2 >= lengths.max(initial=0))

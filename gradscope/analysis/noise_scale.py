"""How noisy a gradient is: the batch size at which noise and signal are equally large."""

import numpy as np
from jaxtyping import Float

from gradscope.errors import UsageError


def gradient_noise_scale(
    small_norms: Float[np.ndarray, " small"],
    large_norms: Float[np.ndarray, " large"],
    small_batch: int,
    large_batch: int,
) -> float:
    """Return the simple noise scale tr(Sigma)/|G|^2, in sequences (McCandlish et al. 2018, arXiv:1812.06162, app. A.1).

    With E|g_B|^2 = |G|^2 + tr(Sigma)/B at two batch sizes there are two equations for the two unknowns.

    A run of `watch` does not hold this: its norms are all of one batch size, and the norms of single sequences are
    of states, not of weights. The two sets of norms come from a training loop that measures both, such as one that
    accumulates several small backward passes into one step.

    Args:
        small_norms: Norms of the gradients of small batches.
        large_norms: Norms of the gradients of large batches, at about the same weights.
        small_batch: Sequences in a small batch.
        large_batch: Sequences in a large batch.

    Returns:
        The noise scale; inf if the norms leave no signal (the estimate of |G|^2 is not above 0).

    Raises:
        UsageError: The small batch is not smaller than the large one, or there are no norms.
    """
    if not 0 < small_batch < large_batch:
        raise UsageError(
            f"Two batch sizes are needed, a small one and a larger one; got {small_batch} and {large_batch}."
        )
    if not len(small_norms) or not len(large_norms):
        raise UsageError("The noise scale needs norms of both batch sizes, got none of one.")
    small, large = float(np.square(small_norms).mean()), float(np.square(large_norms).mean())
    signal = (large_batch * large - small_batch * small) / (large_batch - small_batch)
    noise = max(small - large, 0.0) / (1 / small_batch - 1 / large_batch)
    return noise / signal if signal > 0 else np.inf

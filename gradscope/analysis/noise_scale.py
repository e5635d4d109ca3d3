"""How noisy a gradient is: the batch size at which noise and signal are equally large."""

import numpy as np
from jaxtyping import Float

from gradscope.errors import UsageError
from gradscope.runs import Run


def gradient_noise_scale(
    small_norms: Float[np.ndarray, " small"],
    large_norms: Float[np.ndarray, " large"],
    small_batch: int,
    large_batch: int,
) -> float:
    """Return the simple noise scale tr(Sigma)/|G|^2, in sequences (McCandlish et al. 2018, arXiv:1812.06162, app. A.1).

    With E|g_B|^2 = |G|^2 + tr(Sigma)/B at two batch sizes there are two equations for the two unknowns.

    A run of `watch` holds norms of two batch sizes where several backward passes add up to one update, and only if they
    were asked for: see `run_noise_scale`.

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


def run_noise_scale(run: Run, micro_batch: int) -> float:
    """Return the noise scale of a run that adds up several backward passes, each of a micro-batch, to one update.

    All passes must be of the same loss on parts of one batch: passes of different losses are no micro-batches.

    Args:
        run: Recorded with `watch(also=["micro-batches"])`.
        micro_batch: Sequences in a micro-batch.

    Returns:
        The noise scale in sequences, over all recorded iterations that have as many passes as most of them.

    Raises:
        UsageError: The run holds no norms of micro-batches, or never more than one pass.
    """
    if "micro_batches" not in run.iterations:
        raise UsageError(
            f'The run {run.path} holds no norms of micro-batches: record it with watch(also=["micro-batches"]).'
        )
    rows = run.iterations.dropna(subset=["micro_batches", "micro_gradient_norm", "gradient_norm"])
    usual = rows["micro_batches"].mode()
    if not len(usual) or usual.iloc[0] < 2:
        raise UsageError(f"The run {run.path} has one backward pass an update: the noise scale needs several.")
    rows = rows[rows["micro_batches"] == usual.iloc[0]]
    small, large = (rows[name].to_numpy(dtype=np.float64) for name in ("micro_gradient_norm", "gradient_norm"))
    return gradient_noise_scale(small, large, micro_batch, micro_batch * int(usual.iloc[0]))

"""What other ways of clipping would have done to the gradients that were logged.

A replay takes the logged norms as they are: had training been clipped otherwise, later gradients would have been
others. It says how often a scheme would have acted on such gradients and how hard, not how training would have gone.
Only recorded iterations have a norm, so a scheme with a memory remembers those alone.
"""

from bisect import insort
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.analysis.clipping import CLIPPED_BELOW, Quantiles, quantiles
from gradscope.errors import UsageError

AUTOCLIP_PERCENTILE = 10.0
"""Of Seetharaman et al. 2020, arXiv:2007.14469."""

ZCLIP_SMOOTHING, ZCLIP_SCORE, ZCLIP_WARM_UP = 0.97, 2.5, 25
"""Of Kumar et al. 2025, arXiv:2504.02507."""


@dataclass(frozen=True, eq=False)
class Replay:
    """One scheme, replayed.

    Attributes:
        scheme: Its name with its setting, such as "norm(1)".
        threshold: (iteration,) largest norm that it lets through; inf where it does not act.
        coefficient: (iteration,) factor on the gradient, at most 1.
        clipped_share: Share of the gradients that become shorter; NaN if there are none.
        quantiles: Of the coefficient.
        largest_norm: After clipping; NaN if there are none.
    """

    scheme: str
    threshold: Float[np.ndarray, " iteration"]
    coefficient: Float[np.ndarray, " iteration"]
    clipped_share: float
    quantiles: Quantiles
    largest_norm: float


def logged_norms(iterations: pd.DataFrame) -> Float[np.ndarray, " recorded"]:
    """Return the finite norms of the whole gradient before clipping, in order of iterations.

    Args:
        iterations: A run's table, or some rows of it.
    """
    norms = iterations["gradient_norm"].to_numpy(dtype=np.float64)
    finite: Float[np.ndarray, " recorded"] = norms[np.isfinite(norms)]
    return finite


def replay_norm_clipping(norms: Float[np.ndarray, " iteration"], threshold: float) -> Replay:
    """Clip the norm at a fixed threshold: g <- min(1, threshold/|g|) g (Pascanu, Mikolov & Bengio 2013).

    Args:
        norms: Before clipping, in order of iterations; finite.
        threshold: Largest norm that is let through.

    Returns:
        The replay.

    Raises:
        UsageError: The threshold is not a positive number.
    """
    if not threshold > 0:
        raise UsageError(f"A clipping threshold is a positive number, got {threshold!r}.")
    return _replayed(f"norm({threshold:.3g})", norms, np.full(len(norms), float(threshold)))


def replay_autoclip(norms: Float[np.ndarray, " iteration"], percentile: float = AUTOCLIP_PERCENTILE) -> Replay:
    """Clip the norm at a percentile of all norms so far, the present one among them (Seetharaman et al. 2020).

    Args:
        norms: Before clipping, in order of iterations; finite.
        percentile: Between 0 and 100; 10 in the paper, which clips nine gradients in ten.

    Returns:
        The replay.

    Raises:
        UsageError: The percentile is not between 0 and 100.
    """
    if not 0 <= percentile <= 100:
        raise UsageError(f"AutoClip takes a percentile between 0 and 100, got {percentile!r}.")
    so_far: list[float] = []
    threshold = np.empty(len(norms))
    for index, norm in enumerate(norms):
        insort(so_far, float(norm))
        threshold[index] = _percentile(so_far, percentile)
    return _replayed(f"AutoClip({percentile:.3g} %)", norms, threshold)


def replay_zclip(
    norms: Float[np.ndarray, " iteration"],
    smoothing: float = ZCLIP_SMOOTHING,
    score: float = ZCLIP_SCORE,
    warm_up: int = ZCLIP_WARM_UP,
) -> Replay:
    """Clip norms that are outliers against a moving mean and variance (Kumar et al. 2025).

    The first `warm_up` norms are left as they are and give the first mean and variance. Of a later norm
    z = (|g| - mean)/deviation; above `score` it is cut to mean + score^2/z deviations, the further out the closer to
    the mean. What is left of it moves mean and variance on, the mean first.

    Args:
        norms: Before clipping, in order of iterations; finite.
        smoothing: Weight of the past in the moving mean and variance.
        score: Largest z that is let through.
        warm_up: Norms before it acts; with no more than these it never does.

    Returns:
        The replay.
    """
    threshold = np.full(len(norms), np.inf)
    if len(norms) > warm_up > 0:
        mean, variance = float(norms[:warm_up].mean()), float(norms[:warm_up].var())
        for index in range(warm_up, len(norms)):
            threshold[index] = _zclip_threshold(float(norms[index]), mean, variance**0.5, score)
            left = min(float(norms[index]), float(threshold[index]))
            mean = smoothing * mean + (1 - smoothing) * left
            variance = smoothing * variance + (1 - smoothing) * (left - mean) ** 2
    return _replayed("ZClip", norms, threshold)


def replays(norms: Float[np.ndarray, " iteration"], thresholds: Sequence[float]) -> tuple[Replay, ...]:
    """Replay several schemes on the same norms.

    Args:
        norms: Before clipping, in order of iterations; finite.
        thresholds: Of norm clipping.

    Returns:
        Norm clipping at each threshold, then AutoClip and ZClip as they were published.
    """
    fixed = [replay_norm_clipping(norms, threshold) for threshold in thresholds]
    return (*fixed, replay_autoclip(norms), replay_zclip(norms))


def _zclip_threshold(norm: float, mean: float, deviation: float, score: float) -> float:
    above = norm - mean
    if above <= score * deviation:
        return np.inf
    return mean + score**2 * deviation**2 / above


def _percentile(ordered: Sequence[float], percentile: float) -> float:
    place = percentile / 100 * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def _replayed(
    scheme: str, norms: Float[np.ndarray, " iteration"], threshold: Float[np.ndarray, " iteration"]
) -> Replay:
    cut = norms > threshold
    coefficient = np.where(cut, threshold / np.where(cut, norms, 1.0), 1.0)
    return Replay(
        scheme=scheme,
        threshold=threshold,
        coefficient=coefficient,
        clipped_share=float((coefficient < CLIPPED_BELOW).mean()) if len(norms) else np.nan,
        quantiles=quantiles(coefficient),
        largest_norm=float(np.minimum(norms, threshold).max()) if len(norms) else np.nan,
    )

"""Straight-line fits of a mean over sequences, resampled over the sequences: all resamples at once."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from gradscope.analysis.student import student_t

_LEVEL = 0.95
_STRETCHES = 4


@dataclass(frozen=True)
class SlopeFit:
    """A slope of log(mean over sequences), with a 95 % interval.

    Attributes:
        slope: Least-squares slope.
        low: Lower end of the interval; -inf where a single short sequence leaves it open.
        high: Upper end of the interval.
        residual: Root mean square of what the line leaves over, in nats.
    """

    slope: float
    low: float
    high: float
    residual: float


@dataclass(frozen=True)
class Resampled:
    """Log of the mean over sequences: as measured, and in each resample.

    Attributes:
        measured: (lag,) of the sequences as they are.
        resamples: (resample, lag) of sequences drawn with replacement.
        independent: How many independent draws one resample is made of: groups where there are some, else sequences.
    """

    measured: Float[np.ndarray, " lag"]
    resamples: Float[np.ndarray, "resample lag"]
    independent: int


def resample_log_mean(
    values: Float[np.ndarray, "lag sequence"],
    *,
    floor: float,
    resamples: int,
    seed: int,
    groups: Int[np.ndarray, " sequence"] | None,
) -> Resampled:
    """Return the log of the mean over sequences for every resample.

    Args:
        values: Norms, whose mean over sequences is positive at every lag.
        floor: Smallest mean that a resample can have: one that drew only zeros is not minus infinity.
        resamples: How many.
        seed: Of the draws.
        groups: Which group each sequence is of. Groups are drawn first, then sequences inside the drawn groups.
    """
    rng = np.random.default_rng(seed)
    names, group = np.unique(np.zeros(values.shape[1]) if groups is None else groups, return_inverse=True)
    grouped = len(names) > 1
    drawn = _group_draws(rng, group, resamples) if grouped else _draws(rng, values.shape[1], resamples)
    # Each lag is scaled by its largest norm: norms may reach from the smallest to the largest float64.
    scale = values.max(axis=1)
    relative = values / scale[:, None]
    measured = np.log(scale) + np.log(relative.mean(axis=1))
    with np.errstate(divide="ignore"):
        resampled = np.log(scale) + np.log(drawn @ relative.T / drawn.sum(axis=1, keepdims=True))
    lowest = np.minimum(measured, np.log(max(floor, np.finfo(np.float64).tiny)))
    return Resampled(measured, np.maximum(resampled, lowest), len(names) if grouped else values.shape[1])


def fit_slope(x: Float[np.ndarray, " lag"], data: Resampled) -> tuple[SlopeFit, Float[np.ndarray, " resample"]]:
    """Fit straight lines against x, one to the measured values and one to each resample.

    The interval is the measured slope plus and minus Student's t times the resamples' standard deviation: unlike bare
    percentiles it keeps its promise with a handful of sequences or three seeds. A single sequence cannot be resampled:
    there the scatter of the slope between four stretches of lags takes its place, which gives too wide an interval
    rather than too narrow a one.

    Returns:
        The fit, and the sum of squares that the line leaves over in each resample.
    """
    centred = x - x.mean()
    weights = centred / (centred @ centred)
    slope = float(data.measured @ weights)
    slopes = data.resamples @ weights
    left_over = _left_over(centred, data.resamples, slopes)
    residual = float(np.sqrt(_left_over(centred, data.measured[None], np.array([slope]))[0] / len(x)))
    if data.independent > 1:
        degrees = data.independent - 1
        half = student_t(degrees) * float(slopes.std()) * math.sqrt(data.independent / degrees)
    else:
        half = _half_width_from_stretches(x, data.measured)
    return SlopeFit(slope, slope - half, slope + half, residual), left_over


def _half_width_from_stretches(x: Float[np.ndarray, " lag"], y: Float[np.ndarray, " lag"]) -> float:
    if len(x) < _STRETCHES * 4:
        return math.inf
    parts = zip(np.array_split(x, _STRETCHES), np.array_split(y, _STRETCHES), strict=True)
    slopes = np.array([(a - a.mean()) @ b / np.square(a - a.mean()).sum() for a, b in parts])
    return student_t(_STRETCHES - 1) * float(slopes.std(ddof=1)) / math.sqrt(_STRETCHES)


def _left_over(
    centred: Float[np.ndarray, " lag"], y: Float[np.ndarray, "resample lag"], slopes: Float[np.ndarray, " resample"]
) -> Float[np.ndarray, " resample"]:
    rest = y - y.mean(axis=1, keepdims=True) - slopes[:, None] * centred
    squares: Float[np.ndarray, " resample"] = np.square(rest).sum(axis=1)
    return squares


def _draws(rng: np.random.Generator, sequences: int, resamples: int) -> Float[np.ndarray, "resample sequence"]:
    # How often each sequence is drawn says all about a resample, and turns its mean into a matrix product.
    return rng.multinomial(sequences, np.full(sequences, 1 / sequences), size=resamples).astype(np.float64)


def _group_draws(
    rng: np.random.Generator, group: Int[np.ndarray, " sequence"], resamples: int
) -> Float[np.ndarray, "resample sequence"]:
    sizes = np.bincount(group)
    times_drawn = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), size=resamples)
    drawn = np.zeros((resamples, len(group)))
    for number, size in enumerate(sizes):
        drawn[:, group == number] = rng.multinomial(times_drawn[:, number] * size, np.full(size, 1 / size))
    return drawn

"""How fast a gradient changes on its way back through time: rate, half-life, horizon, underflow."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from gradscope.analysis.bootstrap import SlopeFit, fit_slope, resample_log_mean
from gradscope.analysis.lags import by_lag, kept_sequences, sequence_lengths

HORIZON_SHARE = 0.01
"""The share of the gradient below which a lag no longer matters."""

_FLOOR_MARGIN = 1024.0
"""How far above the smallest normal number norms are trusted: closer to it, units underflow one by one."""

_TINY = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126, "float64": 2.0**-1022}


@dataclass(frozen=True, eq=False)
class Decay:
    """How the norm of the gradient depends on the lag.

    Attributes:
        rate: Slope of log(norm) against lag, in nats per time: below 0 it vanishes, above 0 it explodes. -inf if the
            gradient is exactly 0 one time back, NaN if there is nothing to fit.
        rate_low: Lower end of the 95 % interval of the rate; -inf if one short sequence is all there is.
        rate_high: Upper end of the 95 % interval of the rate; inf likewise.
        half_life: Times in which the gradient halves (or doubles, if the rate is above 0): ln 2 / |rate|.
        lags_used: First and last lag of the fit; None if there was nothing to fit.
        sequences: How many sequences the means are over.
        zeros: How many norms are exactly 0 (those after a sequence's loss do not count).
        zero_share: (lag,) share of the sequences whose norm is exactly 0.
        worn_share: (lag,) share of those whose norm is exactly 0 and was down to the underflow floor before: the others
            were cut off, or never had a gradient.
        first_zero_lag: Smallest lag at which some sequence's norm is exactly 0; None if there is none.
        all_zero_lag: Smallest lag from which on every norm is exactly 0; None if there is none.
        nonfinite: How many norms are NaN or infinite (the times after a packed sequence's end do not count).
        first_nonfinite_lag: Smallest lag at which some norm is not finite; None if there is none.
        law: "exponential" or "power": which straight line leaves less over, log(norm) against lag or against log(lag).
        law_support: Share of the resamples in which that law leaves less over.
        residual_exponential: Root mean square of what the exponential law leaves over, in nats.
        residual_power: The same of the power law.
        exponent: Slope of log(norm) against log(lag), the exponent if the law is a power law.
        share: (lag,) mean norm as a share of the mean norm at lag 0; NaN where a norm is not finite.
        horizon_lag: Smallest lag from which on the share is at most 1 %; None if the gradient reaches further.
        interval: What the interval of the rate is, in words.
        longest: Lags of the longest sequence, 0 among them: more than `lags` where sequences differ in length.
    """

    rate: float
    rate_low: float
    rate_high: float
    half_life: float
    lags_used: tuple[int, int] | None
    sequences: int
    zeros: int
    zero_share: Float[np.ndarray, " lag"]
    worn_share: Float[np.ndarray, " lag"]
    first_zero_lag: int | None
    all_zero_lag: int | None
    nonfinite: int
    first_nonfinite_lag: int | None
    law: Literal["exponential", "power"]
    law_support: float
    residual_exponential: float
    residual_power: float
    exponent: float
    share: Float[np.ndarray, " lag"]
    horizon_lag: int | None
    interval: str = "95 % interval"
    longest: int = 0

    @property
    def lags(self) -> int:
        """How many lags were measured, 0 among them."""
        return len(self.share)

    @property
    def cut_off(self) -> bool:
        """Whether the gradient ends in exact zeros at once, from a size that float numbers hold with ease.

        Underflow wears a gradient away through ever smaller numbers; a dead relu or a detach() leaves none.
        """
        if self.all_zero_lag in {None, 0}:
            return False
        return self.all_zero_lag == (1 if self.lags_used is None else self.lags_used[1] + 1)


@dataclass(frozen=True)
class _Laws:
    exponential: SlopeFit
    power: SlopeFit
    power_support: float


def underflow_floor(dtype: str) -> float:
    """Return the norm below which gradients of a training dtype are not trusted: 1024 times its smallest normal number.

    Args:
        dtype: "float16", "bfloat16", "float32" or "float64"; float32 is assumed for any other.
    """
    return _TINY.get(dtype.removeprefix("torch."), _TINY["float32"]) * _FLOOR_MARGIN


def fit_decay(
    norms: Float[np.ndarray, "time sequence"],
    *,
    floor: float,
    burn_in: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    groups: Int[np.ndarray, " sequence"] | None = None,
) -> Decay:
    """Fit how the mean norm over sequences depends on the lag.

    Least squares of log(mean norm) over the lags from the burn-in to the first one whose mean is at or below the floor,
    or where some norm is not finite. The interval comes from a bootstrap over sequences.

    Args:
        norms: Norm of the total gradient of each sequence, of a loss at the last time. NaN after a packed sequence's
            end, see `by_lag`.
        floor: Mean norms at or below it are not fitted; see `underflow_floor`.
        burn_in: Lags that are left out at the start, fewer if less than two would remain; None for a tenth of those
            above the floor, at least one.
        resamples: Resamples of the bootstrap.
        seed: Of the bootstrap.
        groups: Which group (training seed) each sequence is of: then groups are drawn first.

    Returns:
        The decay. Nothing is dropped unsaid: zeros and values that are not finite are counted in it.
    """
    kept = kept_sequences(norms)
    profile = by_lag(norms).astype(np.float64)
    nonfinite: Bool[np.ndarray, "lag kept"] = ~np.isfinite(profile)
    # A sequence without a single finite norm tells nothing of the lags, and must not hide what the others tell.
    alive = ~nonfinite.all(axis=0)
    phi = _mean_norm(profile[:, alive])
    first, last = _fitted_lags(phi, floor, burn_in)
    laws = None
    if last > first:
        inside = profile[first : last + 1][:, alive]
        group = None if groups is None else groups[kept][alive]
        laws = _fit_laws(inside, first, floor=floor, resamples=resamples, seed=seed, groups=group)
    rate, low, high = _rate(phi, laws)
    share = _share_of_first(phi)
    zero = profile == 0
    is_power = laws is not None and laws.power_support > 0.5
    return Decay(
        rate=rate,
        rate_low=low,
        rate_high=high,
        half_life=_half_life(rate),
        lags_used=(first, last) if laws is not None else None,
        sequences=int(alive.sum()),
        zeros=int(zero.sum()),
        zero_share=_share_of_sequences(zero),
        worn_share=_share_of_sequences(zero & _worn(profile, floor)),
        first_zero_lag=_first(np.asarray(zero.any(axis=1))),
        all_zero_lag=_start_of_tail(phi == 0),
        nonfinite=_count_nonfinite(norms),
        first_nonfinite_lag=_first(np.asarray(nonfinite.any(axis=1))),
        law="power" if is_power else "exponential",
        law_support=np.nan if laws is None else max(laws.power_support, 1 - laws.power_support),
        residual_exponential=np.nan if laws is None else laws.exponential.residual,
        residual_power=np.nan if laws is None else laws.power.residual,
        exponent=np.nan if laws is None else laws.power.slope,
        share=share,
        horizon_lag=_start_of_tail(share <= HORIZON_SHARE),
        longest=int(sequence_lengths(norms).max(initial=0)),
    )


def over_groups(pooled: Decay, members: Sequence[Decay]) -> Decay:
    """Return a decay whose interval holds for every group, such as every training seed.

    Args:
        pooled: of the sequences of all groups.
        members: of each group; at least one.

    Returns:
        `pooled`, its interval the one that spans the 95 % intervals of all groups.
    """
    low, high = min(member.rate_low for member in members), max(member.rate_high for member in members)
    return replace(pooled, rate_low=low, rate_high=high, interval="95 % intervals of the seeds from")


def _mean_norm(profile: Float[np.ndarray, "lag sequence"]) -> Float[np.ndarray, " lag"]:
    if profile.shape[1] == 0:
        return np.full(len(profile), np.nan)
    # Scaled, because the sum of norms near the largest number overflows; not finite anywhere means not finite.
    finite = np.isfinite(profile).all(axis=1)
    scale = np.where(finite, np.abs(profile).max(axis=1), 1.0)
    scale = np.where(scale > 0, scale, 1.0)
    safe = np.where(finite[:, None], profile, 0.0)
    return np.where(finite, (safe / scale[:, None]).mean(axis=1) * scale, np.nan)


def _share_of_sequences(holds: Bool[np.ndarray, "lag kept"]) -> Float[np.ndarray, " lag"]:
    return np.asarray(holds.mean(axis=1)) if holds.shape[1] else np.full(len(holds), np.nan)


def _worn(profile: Float[np.ndarray, "lag kept"], floor: float) -> Bool[np.ndarray, "lag kept"]:
    """Return where some norm nearer to the loss is at or below the floor and not 0."""
    small: Bool[np.ndarray, "lag kept"] = (profile > 0) & (profile <= floor)
    return np.logical_or.accumulate(small, axis=0)


def _share_of_first(phi: Float[np.ndarray, " lag"]) -> Float[np.ndarray, " lag"]:
    if not len(phi) or not phi[0] > 0:
        return np.full(len(phi), np.nan)
    with np.errstate(over="ignore"):
        share: Float[np.ndarray, " lag"] = phi / phi[0]
    return share


def _fitted_lags(phi: Float[np.ndarray, " lag"], floor: float, burn_in: int | None) -> tuple[int, int]:
    above = np.nan_to_num(phi, nan=0.0) > floor
    usable = int(np.argmin(above)) if not above.all() else len(phi)
    if usable == 1 and len(phi) > 1 and phi[1] > 0:
        usable = 2  # it falls through the floor in one time: the value below it still says how fast, if not exactly
    if burn_in is None:
        burn_in = max(1, usable // 10) if usable >= 4 else 0
    return max(0, min(burn_in, usable - 2)), usable - 1


def _fit_laws(
    inside: Float[np.ndarray, "lag sequence"],
    first: int,
    *,
    floor: float,
    resamples: int,
    seed: int,
    groups: Int[np.ndarray, " sequence"] | None,
) -> _Laws:
    data = resample_log_mean(inside, floor=floor, resamples=resamples, seed=seed, groups=groups)
    lags = np.arange(first, first + len(inside), dtype=np.float64)
    exponential, left_by_exponential = fit_slope(lags, data)
    # One more than the lag where the fit begins at lag 0, whose logarithm does not exist.
    power, left_by_power = fit_slope(np.log(np.maximum(lags, 1.0) if first else lags + 1.0), data)
    # A constant is both laws at once, and two points lie on either: rounding must not decide.
    same = np.finfo(np.float64).eps * len(lags) * (1.0 + np.square(data.measured).max())
    better = left_by_power < left_by_exponential - same
    return _Laws(exponential, power, float(better.mean()))


def _rate(phi: Float[np.ndarray, " lag"], laws: _Laws | None) -> tuple[float, float, float]:
    if laws is not None:
        return laws.exponential.slope, laws.exponential.low, laws.exponential.high
    if len(phi) > 1 and phi[0] > 0 and phi[1] == 0:
        return -np.inf, -np.inf, -np.inf
    return np.nan, -np.inf, np.inf


def _half_life(rate: float) -> float:
    if np.isnan(rate):
        return np.nan
    return float(np.log(2) / abs(rate)) if rate != 0 else np.inf


def _count_nonfinite(norms: Float[np.ndarray, "time sequence"]) -> int:
    exists = np.arange(len(norms))[:, None] < sequence_lengths(norms)
    return int((~np.isfinite(norms) & exists).sum())


def _first(hits: Bool[np.ndarray, " lag"]) -> int | None:
    return int(np.argmax(hits)) if hits.any() else None


def _start_of_tail(hits: Bool[np.ndarray, " lag"]) -> int | None:
    """Return the smallest index from which on all are hits, None if the last one is not."""
    if not len(hits) or not hits[-1]:
        return None
    misses = np.flatnonzero(~hits)
    return int(misses[-1]) + 1 if len(misses) else 0

"""Does the gradient vanish or explode through time? The rule, and its reason in words."""

import math
from dataclasses import dataclass
from typing import Literal

from gradscope.analysis.decay import HORIZON_SHARE, Decay
from gradscope.analysis.wording import fold, number, percent, steps

_ROUNDING = 1e-3
"""Growth over the whole lag, in nats, put down to rounding: an orthogonal matrix in float32 does not explode."""

_MORE = 1.005
"""A share above it is told as a factor: up to it there are 100 %."""

Kind = Literal["vanishing", "exploding", "marginal", "mixed"]


@dataclass(frozen=True)
class Verdict:
    """What a decay means for a task.

    Attributes:
        kind: "exploding" if the whole interval of the rate is above 0; "vanishing" if it is below 0 and less than 1 %
            is left at the lag, or if every gradient is exactly 0 there; "mixed" if the loss enters at several times, so
            that there is no lag to judge by; else "marginal".
        lag: The lag that was judged: the task's, or the longest one measured.
        share_at_lag: The share of the gradient at lag 0 that was measured at that lag; by the fitted law where that
            lag was not measured; NaN if there is neither.
        growth: Factor by which the fitted law changes the gradient over that lag. It is what is judged: a drop in the
            very first lags, from the readout to the recurrence, is in the share but is no decay through time.
        reason: Why, in one to three sentences with the numbers.
    """

    kind: Kind
    lag: int
    share_at_lag: float
    growth: float
    reason: str


def verdict(decay: Decay, lag: int | None = None, *, loss_times: int = 1) -> Verdict:
    """Judge a decay by the lag that the task needs.

    Args:
        decay: Of the total gradient.
        lag: How far back the task has to look; None for the longest lag measured.
        loss_times: At how many times the loss enters, see `loss_times`. With more than one the total gradient is a sum
            over many lags, and nothing is judged.

    Returns:
        The verdict with its reason.
    """
    judged = max(decay.lags - 1, 0) if lag is None else lag
    growth = _growth(decay, judged)
    share = _share(decay, judged, growth)
    if loss_times > 1:
        return Verdict("mixed", judged, math.nan, math.nan, _mixed(loss_times))
    kind: Kind = "marginal"
    if decay.rate_low * max(judged, 1) > _ROUNDING:
        kind = "exploding"
    elif (decay.rate_high < 0 and growth < HORIZON_SHARE) or _nothing_arrives(decay, judged):
        kind = "vanishing"
    needed = f"the {steps(judged)} that " + ("can be measured" if lag is None else "the task has to look back")
    parts = [_speed(decay), _arrival(decay, kind, needed, share, growth), _underflow(decay), _overflow(decay)]
    return Verdict(kind, judged, share, growth, " ".join(part for part in parts if part))


def _nothing_arrives(decay: Decay, lag: int) -> bool:
    return decay.all_zero_lag is not None and 0 < decay.all_zero_lag <= lag


def _growth(decay: Decay, lag: int) -> float:
    if lag == 0:
        return 1.0
    if math.isnan(decay.rate):
        return math.nan
    if _slows_down(decay) and decay.lags_used is not None:
        # A power law has no half-life, it slows down: what was measured says what is left, its exponent what follows.
        last = decay.lags_used[1]
        return float(decay.share[min(lag, last)]) * _exp(decay.exponent * math.log(max(lag, last) / last))
    return _exp(decay.rate * lag)


def _slows_down(decay: Decay) -> bool:
    """Return whether the power law is beyond doubt, and not just one more way to say that nothing changes."""
    return decay.law == "power" and decay.law_support >= 0.95 and decay.rate_high < 0


def _share(decay: Decay, lag: int, growth: float) -> float:
    if lag < decay.lags:
        return float(decay.share[lag])
    return growth


def _exp(exponent: float) -> float:
    return math.exp(exponent) if exponent < 709 else math.inf


def _mixed(loss_times: int) -> str:
    return (
        f"The loss enters at {steps(loss_times)}, so the gradient at each time is a sum over many lags: its course "
        "through time does not say how far back a single loss reaches, and nothing is judged from it."
    )


def _speed(decay: Decay) -> str:
    if decay.rate == -math.inf:
        return "The gradient is exactly 0 one time step before the loss already."
    if math.isnan(decay.rate):
        return _nothing(decay)
    change = f"The gradient {_change(decay)}"
    if not math.isfinite(decay.rate_low):
        one = decay.sequences == 1
        what = "measured on one short sequence" if one else "over all seeds; some of them alone give no interval"
        return f"{change}, {what}, so how sure that is cannot be said."
    rate, low, high = _to_the_digit(decay.rate, decay.rate_low, decay.rate_high)
    interval = f"rate {rate}, {decay.interval} {low} to {high}"
    law = f"; it slows down on the way, as lag to the power {decay.exponent:.2f}" if _slows_down(decay) else ""
    return f"{change} ({interval}){law}."


def _to_the_digit(rate: float, low: float, high: float) -> tuple[str, str, str]:
    """Return the numbers with as many decimals as the interval gives a meaning to."""
    half = (high - low) / 2
    form = "+z.3g" if half < 1e-6 else f"+z.{max(2, 1 - math.floor(math.log10(half)))}f"
    return format(rate, form), format(low, form), format(high, form)


def _change(decay: Decay) -> str:
    if abs(decay.rate) < 1e-6:
        return "keeps its size on the way back"
    verb, doing = ("grows", "doubles") if decay.rate > 0 else ("shrinks", "halves")
    factor = _exp(abs(decay.rate))
    if factor > 2:
        return f"{verb} {fold(factor)} with every time step back"
    return (
        f"{verb} by {percent(abs(math.expm1(decay.rate)))} a time step back and {doing} every {number(decay.half_life)}"
    )


def _nothing(decay: Decay) -> str:
    if decay.sequences == 0:
        return "No sequence has a finite gradient: there is nothing to judge."
    if decay.all_zero_lag == 0:
        return "The gradient is exactly 0 at every time, the last one too: the loss does not reach this layer at all."
    if decay.lags < 2:
        return "The loss enters at the first time step that the layer reads: there is no way back to judge."
    return "Less than two time steps have a gradient that can be fitted: there is nothing to judge."


def _arrival(decay: Decay, kind: Kind, needed: str, share: float, growth: float) -> str:
    if math.isnan(decay.rate):
        return ""
    left = _left(share, growth)
    if kind == "exploding":
        return f"Over {needed} it grows {fold(growth)}{_measured(share)}."
    reach = "" if decay.horizon_lag is None else f" From {steps(decay.horizon_lag)} back on less than 1 % arrives."
    if kind == "vanishing":
        return f"Over {needed} {left}.{reach}"
    return f"Over {needed} {left}: {_why_marginal(decay, share, growth)}."


def _why_marginal(decay: Decay, share: float, growth: float) -> str:
    if not math.isfinite(decay.rate_low):
        if decay.sequences > 1:
            return "not every seed gives an interval to judge by"
        return "one sequence is too little to judge by"
    if decay.rate_low <= 0 <= decay.rate_high and decay.rate_low < decay.rate_high:
        return "whether it shrinks or grows on the way cannot be told apart"
    if share < HORIZON_SHARE <= growth:
        return f"that is lost in the first time steps, the rate beyond them would leave {percent(growth)}"
    return "enough to learn from" if math.isfinite(share) else "enough, were it finite"


def _left(share: float, growth: float) -> str:
    if math.isnan(share):
        return f"{percent(growth)} of it would be left by this rate (what arrives is not finite)"
    if share >= HORIZON_SHARE > growth:
        return f"{percent(growth)} of it would be left by this rate ({percent(share)} measured)"
    if share > _MORE:
        return f"it becomes {number(share)} times as large"
    return f"{percent(share)} of it is left" if share else "exactly nothing of it is left"


def _measured(share: float) -> str:
    return f" by this rate; measured: {fold(share)}" if math.isfinite(share) else " by this rate"


def _underflow(decay: Decay) -> str:
    if decay.zeros == 0 or decay.all_zero_lag == 0:
        return ""
    if decay.all_zero_lag is not None:
        why = "it is cut off there, not worn away" if decay.cut_off else "it has underflowed"
        return f"From {steps(decay.all_zero_lag)} back on it is exactly 0 in every sequence: {why}."
    worst = float(decay.zero_share.max())
    return f"It is exactly 0 in up to {percent(worst)} of the sequences, first {steps(decay.first_zero_lag or 0)} back."


def _overflow(decay: Decay) -> str:
    if decay.nonfinite == 0 or decay.first_nonfinite_lag is None:
        return ""
    where = (
        f"first {steps(decay.first_nonfinite_lag)} back" if decay.first_nonfinite_lag else "at the last time already"
    )
    many, them = (f"{decay.nonfinite:,} norms are", "they are") if decay.nonfinite > 1 else ("1 norm is", "it is")
    return f"{many} NaN or infinite, {where}; {them} left out of the fit."

"""Verdicts of a study: of each trial, and of each setting over its seeds."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from gradscope.analysis.clipping import clipping_statistics
from gradscope.analysis.decay import Decay, fit_decay, over_groups
from gradscope.analysis.judging import verdict
from gradscope.analysis.pooling import Phase
from gradscope.study.comparing.evidence import PHASES, RESAMPLES, Evidence
from gradscope.tasks.shown import of_kind

SETTING = ("task", "cell", "initialisation", "clipping")
"""The settings that a study compares; a trial is one of them and a seed."""

FINAL = 0.1
"""Share of the iterations at the end whose mean loss is the final loss."""

Row = dict[str, Any]


def setting_of(evidence: Evidence) -> tuple[str, ...]:
    """Return the setting that a trial is one seed of."""
    return tuple(str(evidence.settings[name]) for name in SETTING)


def trial_row(evidence: Evidence) -> Row:
    """Return a trial's row of `Comparison.trials`.

    Args:
        evidence: what the trial left.

    Returns:
        Column -> value; NaN and "" where it left nothing.
    """
    outcome = evidence.outcome
    decays = {phase: evidence.decay(phase) if evidence.judged else None for phase in PHASES}
    return {
        "trial": outcome.trial,
        **dict(zip(SETTING, setting_of(evidence), strict=True)),
        "seed": evidence.settings.get("seed"),
        "status": outcome.status,
        "reason": outcome.reason,
        **_losses(evidence),
        "baseline": _number(outcome.baseline),
        "baseline_meaning": outcome.baseline_meaning,
        "solved_below": _number(outcome.solved) * _number(outcome.baseline),
        "parameters": outcome.parameters,
        "score": _last_score(evidence),
        "score_name": outcome.score_name,
        "shown_error": _shown_error(evidence),
        "iterations": outcome.iterations,
        "seconds": outcome.seconds,
        "seconds_per_iteration": _pace(evidence),
        "lag": _number(outcome.lag),
        **_judged(decays, outcome.lag, evidence.loss_times if evidence.judged else 1),
        **_clipping(evidence),
    }


def setting_row(evidence: Sequence[Evidence], trials: Sequence[Row]) -> Row:
    """Return a setting's row of `Comparison.settings`.

    Args:
        evidence: its trials, one a seed.
        trials: their rows, in the same order.

    Returns:
        Column -> value. The decay is fitted to the sequences of all seeds together. Its interval spans the 95 %
        intervals of the single seeds, so that what is said of a setting holds for each of its seeds: an interval of
        the mean over three seeds would be wide by its two degrees of freedom alone, one of the pooled sequences narrow
        as if there were one network.
    """
    used = [one for one in evidence if one.judged]
    decays = {phase: _over_seeds(used, phase) for phase in PHASES}
    lag = next((one.outcome.lag for one in used if one.outcome.lag is not None), None)
    setting = setting_of(evidence[0])
    return {
        **dict(zip(SETTING, setting, strict=True)),
        "kind": str(evidence[0].settings.get("kind", setting[0])),
        "seeds": len(used),
        "trials": len(trials),
        "lag": _number(lag),
        "baseline": _first_number(trials, "baseline"),
        "baseline_meaning": next((row["baseline_meaning"] for row in trials if row["baseline_meaning"]), ""),
        **_judged(decays, lag, max((one.loss_times for one in used), default=1)),
        **_loss_over_seeds([row for row in trials if row["status"] != "failed"]),
        "solved_below": _first_number(trials, "solved_below"),
        "solved": sum(row["loss_final"] < row["solved_below"] for row in trials if row["status"] != "failed"),
        "parameters": max(row["parameters"] for row in trials),
        "seconds_per_iteration": _median(trials, "seconds_per_iteration"),
        "score": _mean(trials, "score"),
        "score_name": next((row["score_name"] for row in trials if row["score_name"]), ""),
        "clipped_share": _mean(trials, "clipped_share"),
    }


def _judged(decays: dict[Phase, Decay | None], lag: int | None, times: int) -> Row:
    return _phase(decays["start"], lag, times, "start_") | _phase(decays["end"], lag, times, "")


def _phase(decay: Decay | None, lag: int | None, times: int, prefix: str) -> Row:
    """Return the columns of one phase."""
    if decay is None:
        numbers = (
            "rate",
            "rate_low",
            "rate_high",
            "half_life",
            "share_at_lag",
            "growth",
            "zeros",
            "first_zero_lag",
            "all_zero_lag",
        )
        row: Row = dict.fromkeys((*numbers, "nonfinite"), math.nan)
        row |= {"law": "", "verdict": "failed", "verdict_reason": "No gradient was recorded."}
    else:
        judged = verdict(decay, lag, loss_times=times)
        row = {
            "rate": decay.rate,
            "rate_low": decay.rate_low,
            "rate_high": decay.rate_high,
            "half_life": decay.half_life,
            "share_at_lag": judged.share_at_lag,
            "growth": judged.growth,
            "zeros": decay.zeros,
            "first_zero_lag": _number(decay.first_zero_lag),
            "all_zero_lag": _number(decay.all_zero_lag),
            "nonfinite": decay.nonfinite,
            "law": decay.law,
            "verdict": judged.kind,
            "verdict_reason": judged.reason,
        }
    return {prefix + name: value for name, value in row.items()}


def _over_seeds(evidence: Sequence[Evidence], phase: Phase) -> Decay | None:
    """Return the decay over the sequences of all seeds, its interval that which holds for each of them."""
    found = [(one, norms) for one in evidence if (norms := one.norms(phase)) is not None]
    if len(found) < 2:
        return found[0][0].decay(phase) if found else None
    pooled = fit_decay(_side_by_side([norms for _, norms in found]), floor=found[0][0].floor, resamples=RESAMPLES)
    return over_groups(pooled, [decay for one, _ in found if (decay := one.decay(phase)) is not None])


def _side_by_side(parts: list[Float[np.ndarray, "time sequence"]]) -> Float[np.ndarray, "time sequence"]:
    """Return all sequences as one array; shorter ones end in NaN, as packed sequences do."""
    longest = max(len(part) for part in parts)
    padded = [np.pad(part, ((0, longest - len(part)), (0, 0)), constant_values=np.nan) for part in parts]
    return np.concatenate(padded, axis=1)


def _losses(evidence: Evidence) -> Row:
    """Return the loss at the start and at the end; a diverged trial ends infinitely high."""
    losses = evidence.run.iterations["loss"].dropna() if evidence.run is not None else pd.Series(dtype=float)
    if losses.empty:
        return {"loss_first": math.nan, "loss_final": math.nan}
    final = losses.iloc[-max(1, round(len(losses) * FINAL)) :].mean()
    diverged = evidence.outcome.status == "diverged"
    return {"loss_first": float(losses.iloc[0]), "loss_final": math.inf if diverged else float(final)}


def _last_score(evidence: Evidence) -> float:
    """Return the newest score that was logged, NaN if none was."""
    if evidence.run is None or "score" not in evidence.run.iterations:
        return math.nan
    scores = evidence.run.iterations["score"].dropna()
    return float(scores.iloc[-1]) if len(scores) else math.nan


def _shown_error(evidence: Evidence) -> float:
    """Return the root mean square error of what the task showed first at its last stop, NaN if it showed nothing."""
    curves = of_kind(evidence.outcome.exhibits, "curve")
    last = [one for one in curves if one["iterations"] == max(each["iterations"] for each in curves)]
    if not last:
        return math.nan
    answer, truth = (np.array(last[0][name], dtype=float) for name in ("answer", "truth"))
    squares = (answer - truth) ** 2
    return float(np.sqrt(np.nanmean(squares))) if np.isfinite(squares).any() else math.nan


def _loss_over_seeds(rows: Sequence[Row]) -> Row:
    losses = np.array([row["loss_final"] for row in rows if not math.isnan(row["loss_final"])])
    if not len(losses):
        return dict.fromkeys(("loss_final_mean", "loss_final_low", "loss_final_high"), math.nan)
    return {
        "loss_final_mean": float(losses.mean()),
        "loss_final_low": float(losses.min()),
        "loss_final_high": float(losses.max()),
    }


def _clipping(evidence: Evidence) -> Row:
    if evidence.run is None:
        names = ("clipped_share", "clip_coefficient_median", "clip_cosine_median", "gradient_norm_median")
        return dict.fromkeys(names, math.nan)
    found = clipping_statistics(evidence.run.iterations)
    return {
        "clipped_share": found.clipped_share,
        "clip_coefficient_median": found.coefficient.median,
        "clip_cosine_median": found.cosine.median,
        "gradient_norm_median": found.norm.median,
    }


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _pace(evidence: Evidence) -> float:
    """Return the seconds within which the fastest tenth of the iterations was over.

    The machine was working on other trials too, and most iterations were not recorded: their fast end says what one
    takes by itself. Of trials that were trained together nobody knows: NaN.
    """
    if evidence.outcome.together > 1:
        return math.nan
    rows = evidence.run.iterations if evidence.run is not None else pd.DataFrame()
    taken = rows["seconds"].dropna() if "seconds" in rows else pd.Series(dtype=float)
    return float(taken.quantile(0.1)) if len(taken) else math.nan


def _median(rows: Sequence[Row], column: str) -> float:
    values = [row[column] for row in rows if not math.isnan(row[column])]
    return float(np.median(values)) if values else math.nan


def _first_number(rows: Sequence[Row], column: str) -> float:
    return next((row[column] for row in rows if not math.isnan(row[column])), math.nan)


def _mean(rows: Sequence[Row], column: str) -> float:
    values = [row[column] for row in rows if not math.isnan(row[column])]
    return sum(values) / len(values) if values else math.nan

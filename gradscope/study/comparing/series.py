"""What the figures of a study draw: gradient by lag and by time, loss by iteration, clipping by trial."""

import re
from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from gradscope.analysis.clipping import clipping_statistics
from gradscope.analysis.lags import by_lag
from gradscope.analysis.pooling import Phase, phase_iterations
from gradscope.study.comparing.evidence import Evidence
from gradscope.study.comparing.judgement import SETTING, setting_of
from gradscope.tasks.shown import of_kind

_LAYER = re.compile(r"(?:^|\.)l(\d+)(_reverse)?$")


def lag_rows(evidence: Evidence, phase: Phase) -> pd.DataFrame:
    """Return a trial's mean norm at each lag.

    Args:
        evidence: what the trial left.
        phase: the start or the end of its training.

    Returns:
        Rows of `Comparison.lags`; none if its gradients do not count.
    """
    norms, decay = evidence.norms(phase), evidence.decay(phase)
    if norms is None or decay is None or not evidence.judged:
        return pd.DataFrame()
    at_lag_0 = by_lag(norms)[:1]
    finite = at_lag_0[np.isfinite(at_lag_0)]
    norm = decay.share * (float(finite.mean()) if len(finite) else np.nan)
    columns = {"lag": np.arange(decay.lags), "norm": norm, "share": decay.share, "zero_share": decay.zero_share}
    return pd.DataFrame(_names(evidence) | {"phase": phase} | columns)


def heat_rows(evidence: Evidence) -> pd.DataFrame:
    """Return a trial's rows of `Comparison.heat`.

    Args:
        evidence: what the trial left.

    Returns:
        A row for each layer and direction, recorded iteration and time; `layer` is empty where there is only one.
    """
    layers = evidence.run.layers if evidence.run is not None else []
    found = {layer: evidence.newest_calls(layer) for layer in layers}
    found = {layer: rows for layer, rows in found.items() if len(rows)}
    several = len(found) > 1
    tables = [
        rows[["iteration", "time", "total_gradient_norm"]].assign(layer=layer_words(layer, layers) if several else "")
        for layer, rows in found.items()
    ]
    if not tables:
        return pd.DataFrame()
    columns = ["layer", "iteration", "time", "total_gradient_norm"]
    return pd.concat(tables, ignore_index=True).assign(**_names(evidence))[[*_names(evidence), *columns]]


def layer_words(layer: str, layers: Sequence[str]) -> str:
    """Say which layer of a stack it is, and in which direction it reads.

    Args:
        layer: as a run names it, such as `recurrent.l0_reverse`.
        layers: all of the run, that it may be one of several, or read in one of two directions.

    Returns:
        For instance `layer 2`, `backwards`; the name itself where it is another one.
    """
    found = _LAYER.search(layer)
    if found is None:
        return layer
    numbers = {each[1] for name in layers if (each := _LAYER.search(name))}
    both = any(name.endswith("_reverse") for name in layers)
    place = [f"layer {int(found[1]) + 1}"] if len(numbers) > 1 else []
    return ", ".join([*place, *(["backwards" if found[2] else "forwards"] if both else [])]) or layer


def loss_rows(evidence: Evidence) -> pd.DataFrame:
    """Return a trial's rows of `Comparison.losses`.

    Args:
        evidence: what the trial left.

    Returns:
        A row for each iteration with a loss.
    """
    if evidence.run is None:
        return pd.DataFrame()
    rows = evidence.run.iterations[["iteration", "loss"]].dropna()
    return rows.assign(**_names(evidence))[[*_names(evidence), "iteration", "loss"]]


def score_rows(evidence: Evidence) -> pd.DataFrame:
    """Return a trial's rows of `Comparison.scores`.

    Args:
        evidence: what the trial left.

    Returns:
        A row for each iteration with a score.
    """
    if evidence.run is None or "score" not in evidence.run.iterations:
        return pd.DataFrame()
    rows = evidence.run.iterations[["iteration", "score"]].dropna()
    return rows.assign(**_names(evidence))[[*_names(evidence), "iteration", "score"]]


def exhibit_rows(evidence: Evidence) -> pd.DataFrame:
    """Return a trial's rows of `Comparison.exhibits`.

    Args:
        evidence: what the trial left.

    Returns:
        A row for each point of what its task showed.
    """
    shown = [
        pd.DataFrame(
            _names(evidence)
            | {"iterations": one["iterations"], "name": one["name"]}
            | {key: np.array(one[key], dtype=float) for key in ("x", "truth", "answer")}
        )
        for one in of_kind(evidence.outcome.exhibits, "curve")
    ]
    return pd.concat(shown, ignore_index=True) if shown else pd.DataFrame()


def shown_rows(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Give a trial's rows of `Comparison.shown`.

    Args:
        evidence: what the trial left.

    Yields:
        A row for each set of lines, picture and text: `kind`, `name`, `iterations`, `told`, and all of it in `content`.
    """
    for kind in ("lines", "picture", "sample"):
        for one in of_kind(evidence.outcome.exhibits, kind):
            named = {"kind": kind, "name": one["name"], "iterations": one["iterations"], "told": one.get("told", "")}
            yield _names(evidence) | named | {"content": one}


def time_rows(evidence: Evidence) -> pd.DataFrame:
    """Return the gradient at each time of a trial whose loss enters at many times, at the end of training.

    Args:
        evidence: what the trial left.

    Returns:
        Rows of `Comparison.times`: total and direct norm at each time, means over the last quarter of the recorded
        iterations; none where a single answer makes lag the better measure.
    """
    if evidence.run is None or not evidence.judged or evidence.loss_times < 2:
        return pd.DataFrame()
    rows = evidence.newest_calls()
    late = rows[rows["iteration"].isin(phase_iterations(evidence.run, str(evidence.layer), "end"))]
    columns = ["total_gradient_norm", "direct_gradient_norm"]
    means = late.groupby("time")[columns].mean().reset_index()
    return means.assign(**_names(evidence))[[*_names(evidence), "time", *columns]]


def clipping_rows(evidence: Evidence) -> Iterator[dict[str, Any]]:
    """Give a trial's row of `Comparison.clipping`.

    Args:
        evidence: what the trial left.

    Yields:
        One row, none if no gradient was recorded both before and after clipping.
    """
    found = clipping_statistics(evidence.run.iterations) if evidence.run is not None else None
    if found is None or not found.recorded:
        return
    yield _names(evidence) | {
        "clipped_share": found.clipped_share,
        "coefficient_median": found.coefficient.median,
        "coefficient_q10": found.coefficient.q10,
        "coefficient_q90": found.coefficient.q90,
        "cosine_median": found.cosine.median,
        "norm_median": found.norm.median,
        "norm_q90": found.norm.q90,
    }


def representatives(evidence: Sequence[Evidence]) -> list[Evidence]:
    """Return one trial a task and cell: its first setting, the default where it was tried, and its first seed.

    Args:
        evidence: all trials, those of one task and cell next to each other.
    """
    chosen = []
    for _, group in groupby((one for one in evidence if one.judged), lambda one: setting_of(one)[:2]):
        trials = list(group)
        plain = [one for one in trials if setting_of(one)[2:] == ("default", "none")]
        chosen.append((plain or trials)[0])
    return chosen


def _names(evidence: Evidence) -> dict[str, Any]:
    return dict(zip(SETTING, setting_of(evidence), strict=True)) | {"seed": evidence.settings.get("seed")}

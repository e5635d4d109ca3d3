"""The result of a study: every table that its report draws, made from run folders alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import pandas as pd

from gradscope.errors import RunError
from gradscope.runs.places import Place, stream_of, write
from gradscope.study.comparing.evidence import PHASES, Evidence, read_evidence
from gradscope.study.comparing.judgement import SETTING, Row, setting_of, setting_row, trial_row
from gradscope.study.comparing.series import (
    clipping_rows,
    exhibit_rows,
    heat_rows,
    lag_rows,
    loss_rows,
    representatives,
    score_rows,
    shown_rows,
    time_rows,
)
from gradscope.study.spec.expectation import held_against
from gradscope.study.training.outcome import Outcome

if TYPE_CHECKING:
    from gradscope.study.spec.study_spec import StudySpec

TABLE = "comparison.csv"
"""File beside the trials' folders that holds `Comparison.trials`."""


_TRIAL = (*SETTING, "seed")
_SHOWN = (*_TRIAL, "kind", "name", "iterations", "told", "content")


@dataclass(frozen=True)
class Comparison:
    """What a study found; tidy tables, one thing a row.

    Attributes:
        spec: the study that was asked for.
        trials: one row a trial: its settings, its outcome, its loss, decay and clipping.
        settings: one row a (task, cell, initialisation, clipping), pooled over its seeds.
        lags: total-gradient norm against lag for each trial and phase ("start", "end").
        heat: total-gradient norm for each layer and direction, iteration and time, of one trial a cell and task.
        losses: loss for each trial and iteration.
        clipping: what clipping did in each trial.
        provenance: how it was made: command, versions, seeds, machine, seconds, trials reused.
        scores: what a task measured on data held out, for each trial and iteration with such a score.
        exhibits: what a task showed of the network: a row a point, the truth and the answer.
        shown: what else was shown and measured: a row a set of lines, picture or text.
        times: total and direct gradient at each time, of the trials whose loss enters at many times.
        expectations: published claims, and whether they were reproduced.
    """

    spec: "StudySpec"
    trials: pd.DataFrame
    settings: pd.DataFrame
    lags: pd.DataFrame
    heat: pd.DataFrame
    losses: pd.DataFrame
    clipping: pd.DataFrame
    provenance: Mapping[str, object]
    scores: pd.DataFrame = field(default_factory=pd.DataFrame)
    exhibits: pd.DataFrame = field(default_factory=pd.DataFrame)
    expectations: pd.DataFrame = field(default_factory=pd.DataFrame)
    shown: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=list(_SHOWN)))
    times: pd.DataFrame = field(default_factory=pd.DataFrame)


def compare(
    spec: "StudySpec",
    trial_folders: Sequence[Place],
    provenance: Mapping[str, object],
    told: Mapping[str, Outcome] | None = None,
) -> Comparison:
    """Compare the trials of a study by what they left on disk.

    Args:
        spec: the study.
        trial_folders: one run folder a trial; a trial whose folder is missing or damaged counts as failed.
        provenance: how it was made, for the report.
        told: how trials ended, by the names of their folders, for those that could not leave that there.

    Returns:
        The comparison. `trials` is also written to `comparison.csv` beside the trials' folders.

    Raises:
        RunError: no folder says which trial it holds, or the table cannot be written.
    """
    found, settings = _read_all(trial_folders, told or {})
    if not found:
        looked = trial_folders[0].parent if trial_folders else "no folder"
        raise RunError(f"There is no trial to compare: expected run folders with an outcome.json, looked in {looked}.")
    found = _in_order(found)
    evidence, rows = [one for one, _ in found], [rows for _, rows in found]
    trials = [each.trial for each in rows]
    table = pd.DataFrame(trials)

    def stacked(name: str, columns: Sequence[str]) -> pd.DataFrame:
        return _table([part for each in rows for part in getattr(each, name)], columns)

    comparison = Comparison(
        spec=spec,
        trials=table,
        settings=pd.DataFrame([settings[setting] for setting in dict.fromkeys(map(setting_of, evidence))]),
        lags=stacked("lags", _LAGS),
        heat=_table([heat_rows(one) for one in representatives(evidence)], _HEAT),
        losses=stacked("losses", _LOSSES),
        clipping=pd.DataFrame([row for each in rows for row in each.clipping], columns=list(_CLIPPING)),
        provenance=provenance,
        scores=stacked("scores", _SCORES),
        exhibits=stacked("exhibits", _EXHIBITS),
        expectations=held_against(getattr(spec, "expect", ()), table),
        shown=pd.DataFrame([row for each in rows for row in each.shown], columns=list(_SHOWN)),
        times=stacked("times", _TIMES),
    )
    _save(comparison.trials, evidence[0].folder.parent / TABLE)
    return comparison


@dataclass(frozen=True)
class _Rows:
    """What one trial adds to each table."""

    trial: Row
    lags: list[pd.DataFrame]
    losses: list[pd.DataFrame]
    scores: list[pd.DataFrame]
    exhibits: list[pd.DataFrame]
    times: list[pd.DataFrame]
    clipping: list[Row]
    shown: list[Row]


def _read_all(
    folders: Sequence[Place], told: Mapping[str, Outcome]
) -> tuple[list[tuple[Evidence, _Rows]], dict[tuple[str, ...], Row]]:
    """Return all trials, and the row of each setting.

    Of a trial only what is compared is kept: a study may hold more than fits into memory. The norms of all sequences
    are needed until its setting has all its seeds, which mostly stand next to each other; else they are read again.
    """
    found: dict[tuple[str, ...], list[tuple[Evidence, _Rows]]] = {}
    settings = {}
    read = (each for each in stream_of(partial(_read, told), folders) if each is not None)
    for setting, seeds in groupby(read, lambda each: setting_of(each[0])):
        of_setting = found.setdefault(setting, [])
        of_setting += seeds
        settings[setting] = setting_row([one for one, _ in of_setting], [rows.trial for _, rows in of_setting])
        for one, _ in of_setting:
            one.forget()
    return [each for of_setting in found.values() for each in of_setting], settings


def _read(told: Mapping[str, Outcome], folder: Place) -> tuple[Evidence, _Rows] | None:
    """Return a trial's evidence and rows; None if nothing says which trial it was."""
    one = read_evidence(folder, told.get(folder.name))
    if not set(SETTING) <= set(one.settings):
        return None
    rows = _Rows(
        trial=trial_row(one),
        lags=[lag_rows(one, phase) for phase in PHASES],
        losses=[loss_rows(one)],
        scores=[score_rows(one)],
        exhibits=[exhibit_rows(one)],
        times=[time_rows(one)],
        clipping=list(clipping_rows(one)),
        shown=list(shown_rows(one)),
    )
    if one.run is not None:
        one.run.forget()  # Here, since trials in a store are read ahead.
    return one, rows


_LAGS = (*_TRIAL, "phase", "lag", "norm", "share", "zero_share")
_HEAT = (*_TRIAL, "layer", "iteration", "time", "total_gradient_norm")
_LOSSES = (*_TRIAL, "iteration", "loss")
_SCORES = (*_TRIAL, "iteration", "score")
_EXHIBITS = (*_TRIAL, "iterations", "name", "x", "truth", "answer")
_TIMES = (*_TRIAL, "time", "total_gradient_norm", "direct_gradient_norm")
_CLIPPED = ("clipped_share", "coefficient_median", "coefficient_q10", "coefficient_q90")
_CLIPPING = (*_TRIAL, *_CLIPPED, "cosine_median", "norm_median", "norm_q90")


def _in_order(found: Sequence[tuple[Evidence, _Rows]]) -> list[tuple[Evidence, _Rows]]:
    """Return the trials by task, cell, initialisation and clipping, each in the order in which it first appears."""
    settings = [setting_of(one) for one, _ in found]
    places = [_places(setting[level] for setting in settings) for level in range(len(SETTING))]
    keys = [[place[name] for place, name in zip(places, setting, strict=True)] for setting in settings]
    return [found[index] for index in sorted(range(len(found)), key=keys.__getitem__)]


def _places(names: Iterable[str]) -> dict[str, int]:
    return {name: place for place, name in enumerate(dict.fromkeys(names))}


def _table(parts: Sequence[pd.DataFrame], columns: Sequence[str]) -> pd.DataFrame:
    filled = [part for part in parts if len(part)]
    return pd.concat(filled, ignore_index=True) if filled else pd.DataFrame(columns=list(columns))


def _save(trials: pd.DataFrame, path: Place) -> None:
    try:
        write(path, trials.to_csv(index=False).encode())
    except OSError as error:
        raise RunError(f"The comparison cannot be written to {path}: {error.strerror or error}.") from error

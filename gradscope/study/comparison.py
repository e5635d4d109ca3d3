"""The result of a study: every table that its report draws, made from run folders alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

    from gradscope.study.spec import StudySpec

SETTING = ("task", "cell", "initialisation", "clipping")
"""The columns that name a setting; a trial is a setting and a seed."""


@dataclass(frozen=True)
class Comparison:
    """What a study found; tidy tables, one thing a row.

    Attributes:
        spec: the study that was asked for.
        trials: one row a trial: its settings, its outcome, its loss, decay and clipping.
        settings: one row a (task, cell, initialisation, clipping), pooled over its seeds.
        lags: total-gradient norm against lag for each trial and phase ("start", "end").
        heat: total-gradient norm for each iteration and time, of one trial a cell and task.
        losses: loss for each trial and iteration.
        clipping: what clipping did in each trial.
        provenance: how it was made: command, versions, seeds, machine, seconds, trials reused.
    """

    spec: "StudySpec"
    trials: "pd.DataFrame"
    settings: "pd.DataFrame"
    lags: "pd.DataFrame"
    heat: "pd.DataFrame"
    losses: "pd.DataFrame"
    clipping: "pd.DataFrame"
    provenance: Mapping[str, object]

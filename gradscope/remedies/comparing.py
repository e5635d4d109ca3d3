"""Each remedy against the unchanged training, seed by seed. No torch here: reports read it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from gradscope.analysis.student import student_t

UNCHANGED_NAME = "unchanged"
COMPARED = ("rate", "horizon", "share_at_lag", "loss")
"""Columns whose change is reported, with an interval."""


@dataclass(frozen=True)
class NotTried:
    """A remedy that was asked for and not tried.

    Attributes:
        remedy: its name.
        reason: why.
    """

    remedy: str
    reason: str


@dataclass(frozen=True)
class Change:
    """A mean difference to the unchanged training over the seeds, each seed with itself.

    Attributes:
        mean: of the differences.
        low: lower end of its 95 % interval by Student's t.
        high: upper end.
    """

    mean: float
    low: float
    high: float

    @property
    def moved(self) -> int:
        """1 if the interval lies above 0, -1 if below, else 0."""
        return int(self.low > 0) - int(self.high < 0)


@dataclass(frozen=True, eq=False)
class Trials:
    """What came of trying.

    Attributes:
        table: a row for each remedy that was tried, see `compare`.
        trainings: a row for each remedy, seed and layer.
        losses: a row for each remedy, seed and iteration.
        meanings: name -> what the remedy does, and who proposed it.
        not_tried: what was asked for and could not be tried, with the reason.
        lag: how far back the task looks, where that was said.
    """

    table: pd.DataFrame
    trainings: pd.DataFrame
    losses: pd.DataFrame
    meanings: dict[str, tuple[str, str]]
    not_tried: tuple[NotTried, ...]
    lag: int | None


def paired_change(before: Sequence[float], after: Sequence[float]) -> Change:
    """Return the mean difference of pairs.

    Args:
        before: of each seed.
        after: of the same seeds.

    Returns:
        With less than two pairs of finite numbers the interval is open, with none all is NaN.
    """
    differences = np.asarray(after, dtype=np.float64) - np.asarray(before, dtype=np.float64)
    differences = differences[np.isfinite(differences)]
    if not len(differences):
        return Change(math.nan, math.nan, math.nan)
    mean = float(differences.mean())
    if len(differences) == 1:
        return Change(mean, -math.inf, math.inf)
    half = student_t(len(differences) - 1) * float(differences.std(ddof=1)) / math.sqrt(len(differences))
    return Change(mean, mean - half, mean + half)


def judged_layer(trainings: pd.DataFrame) -> int:
    """Return the place of the layer whose gradient decays fastest in the unchanged training; the first if none does."""
    rates = trainings[trainings["remedy"] == UNCHANGED_NAME].groupby("place")["rate"].mean()
    return 0 if rates.isna().all() else int(rates.index[int(rates.fillna(math.inf).argmin())])


def compare(trainings: pd.DataFrame) -> pd.DataFrame:
    """Compare every remedy with the unchanged training in the layer that is judged.

    Args:
        trainings: a row for each remedy, seed and layer: `remedy`, `seed`, `layer`, `place`, `rate`, `half_life`,
            `horizon`, `share_at_lag`, `loss`, `diverged`, `iterations`, `seconds`, `same_batches`.

    Returns:
        A row for each remedy, the unchanged training first: means over the seeds, and of each of `COMPARED` the change
        with its interval: `loss_change`, `loss_change_low`, `loss_change_high`. Diverged trainings are counted and
        enter no mean.
    """
    place = judged_layer(trainings)
    groups = {str(name): rows for name, rows in trainings.groupby("remedy", sort=False)}
    return pd.DataFrame([_row(name, rows, groups[UNCHANGED_NAME], place) for name, rows in groups.items()])


def _row(name: str, rows: pd.DataFrame, unchanged: pd.DataFrame, place: int) -> dict[str, Any]:
    mine, reference = _by_seed(rows, place), _by_seed(unchanged, place).reindex(_by_seed(rows, place).index)
    whole = mine[~mine["diverged"]]
    row: dict[str, Any] = {
        "remedy": name,
        "layer": str(mine["layer"].iloc[0]),
        "seeds": len(mine),
        "diverged": int(mine["diverged"].sum()),
        "half_life": _mean(whole["half_life"]),
        **{column: _mean(whole[column]) for column in COMPARED},
    }
    for column in COMPARED if name != UNCHANGED_NAME else ():
        change = paired_change(reference.loc[whole.index, column].tolist(), whole[column].tolist())
        row |= {
            f"{column}_change": change.mean,
            f"{column}_change_low": change.low,
            f"{column}_change_high": change.high,
        }
    return row | {
        "identical": name != UNCHANGED_NAME and bool((mine["loss"] == reference["loss"]).all()),
        "same_batches": bool(mine["same_batches"].all()),
        "iterations": int(mine["iterations"].max()),
        "seconds": _mean(mine["seconds"]),
    }


def _by_seed(rows: pd.DataFrame, place: int) -> pd.DataFrame:
    """Return one row a seed; a model whose layers are fewer than the unchanged one's is judged by its last."""
    place = min(place, int(rows["place"].max()))
    return rows[rows["place"] == place].set_index("seed")


def _mean(values: pd.Series) -> float:
    finite = values[np.isfinite(values.astype(float))]
    return float(finite.mean()) if len(finite) else math.nan

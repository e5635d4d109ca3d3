"""What a study measured and showed of its networks, ready for the page: figures, texts and what they say in words."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from gradscope.reporting.figures.measured import lines_plate, picture_plate
from gradscope.reporting.learning import name as name_of
from gradscope.reporting.numbers import after
from gradscope.reporting.panel import Plate
from gradscope.reporting.statement import Statement
from gradscope.reporting.svg import SvgInliner

_MOST_LINES = 8
_MOST_TEXTS = 9
_LEADING = 2
_SETTING = ["task", "cell", "initialisation", "clipping"]


@dataclass(frozen=True)
class Written:
    """What one network wrote.

    Attributes:
        task: that it learned.
        title: which network, after how many iterations.
        texts: (how it was written, the text).
    """

    task: str
    title: str
    texts: tuple[tuple[str, str], ...]


def measured_plates(shown: pd.DataFrame, settings: pd.DataFrame, inliner: SvgInliner) -> Iterator[Plate]:
    """Draw every measure of every task, of each setting's first seed.

    Args:
        shown: `Comparison.shown`.
        settings: `Comparison.settings`.
        inliner: of the page.

    Yields:
        One figure a task and measure.
    """
    for kind, draw in (("lines", lines_plate), ("picture", picture_plate)):
        for (task, what), rows in _first_seed(shown[shown["kind"] == kind]).groupby(["task", "name"], sort=False):
            panels = {_panel(row, settings): row["content"] for _, row in rows.iterrows()}
            yield draw(f"{task}: {what}", panels, str(task), inliner)


def written(shown: pd.DataFrame, settings: pd.DataFrame) -> tuple[Written, ...]:
    """Return what the networks wrote: each setting's first seed, at the last stop; a task's first setting at all stops.

    Args:
        shown: `Comparison.shown`.
        settings: `Comparison.settings`.

    Returns:
        One entry a network and stop.
    """
    texts = _first_seed(shown[shown["kind"] == "sample"])
    if texts.empty:
        return ()
    of = texts[_SETTING].agg(tuple, axis=1)
    lead = set(of[~texts.duplicated("task")])
    last = texts["iterations"] == texts.groupby(_SETTING)["iterations"].transform("max")
    texts = texts[last | of.isin(lead)]
    return tuple(
        Written(
            str(rows["task"].iloc[0]),
            _panel(rows.iloc[0], settings),
            tuple((str(row["name"]), str(row["content"]["text"])) for _, row in rows.head(_MOST_TEXTS).iterrows()),
        )
        for _, rows in texts.groupby([*_SETTING, "iterations"], sort=False)
    )


def told(shown: pd.DataFrame, settings: pd.DataFrame) -> Statement | None:
    """Say what the measures of a task found beyond its lede, at the last stop, of each setting's first seed.

    Args:
        shown: of `Comparison.shown`, one task.
        settings: of `Comparison.settings`, one task.

    Returns:
        None where no measure says more.
    """
    lines = _lines(shown, settings)
    if len(lines) <= _LEADING:
        return None
    return Statement("aside", "Measured", "of the first seed, at the end:", lines[:_MOST_LINES])


def lede(shown: pd.DataFrame, settings: pd.DataFrame) -> str:
    """Return what the measures of a task found, of its first settings, in a sentence with a space after it.

    Args:
        shown: of `Comparison.shown`, one task.
        settings: of `Comparison.settings`, one task.

    Returns:
        Empty where no measure says anything.
    """
    lines = _lines(shown, settings)
    return f"{'; '.join(lines[:_LEADING])}. " if lines else ""


def told_last(shown: pd.DataFrame) -> pd.DataFrame:
    """Return what says something in words: of each setting's first seed, at its last stop.

    Args:
        shown: `Comparison.shown`.

    Returns:
        Of its rows those.
    """
    rows = _first_seed(shown[shown["told"] != ""]) if len(shown) else shown
    return rows[rows["iterations"] == rows.groupby(_SETTING)["iterations"].transform("max")] if len(rows) else rows


def _lines(shown: pd.DataFrame, settings: pd.DataFrame) -> tuple[str, ...]:
    return tuple(f"{name_of(row, settings)}: {row['told']}" for _, row in told_last(shown).iterrows())


def _first_seed(rows: pd.DataFrame) -> pd.DataFrame:
    return rows[rows["seed"] == rows.groupby(_SETTING)["seed"].transform("min")] if len(rows) else rows


def _panel(row: pd.Series, settings: pd.DataFrame) -> str:
    own = settings[settings["task"] == row["task"]]
    return f"{name_of(row, own)}, {after(row['iterations'])}"

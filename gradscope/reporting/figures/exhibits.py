"""What a network showed: its answer over the truth; and its score through training."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks
from gradscope.reporting.figures.lines import median_lines
from gradscope.reporting.numbers import after, listed, number
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

MOST_PANELS = 12
_LAST_POINTS = 300
"""More points than this are too close to be told apart: the last ones are drawn."""


def exhibit_plate(exhibits: pd.DataFrame, title: str, topic: str, inliner: SvgInliner) -> Plate:
    """Draw one panel a setting and number of iterations, of the first seed.

    Args:
        exhibits: `panel`, `seed`, `iterations`, `x`, `truth`, `answer`; all of one name.
        title: heading of the figure.
        topic: the task that it is about.
        inliner: of the page.

    Returns:
        The figure.
    """
    first = exhibits[exhibits["seed"] == exhibits["seed"].min()]
    low, high = _limits(first["truth"])
    groups = list(first.groupby(["panel", "iterations"], sort=False))[:MOST_PANELS]
    panels = [_exhibit(f"{name}, {after(at)}", rows, (low, high), inliner) for (name, at), rows in groups]
    return Plate(
        title=title,
        caption="The network's answer over the truth, of the first seed; where the answer leaves the frame it is cut.",
        panels=panels,
        keys=[Key("the network", 0, marked=False), Key("truth", None, dashed=True)],
        topic=topic,
    )


def score_plate(scores: pd.DataFrame, what: str, series: Sequence[str], topic: str, inliner: SvgInliner) -> Plate:
    """Draw one panel a cell, one line an initialisation, a band over the seeds.

    Args:
        scores: `panel`, `series`, `seed`, `iteration`, `score`; drawn against `pass` where there is one.
        what: was scored.
        series: names of all lines on the page.
        topic: the task that it is about.
        inliner: of the page.

    Returns:
        The figure.
    """
    against = "pass" if "pass" in scores else "iteration"
    present = [line for line in series if line in set(scores["series"])]
    panels = [
        _score(str(name), rows, series, (against, what), inliner) for name, rows in scores.groupby("panel", sort=False)
    ]
    when = "after each pass over the data on what was held out" if against == "pass" else "on data never trained on"
    return Plate(
        title=f"{topic}: {what}",
        caption=f"{what[:1].upper()}{what[1:]}, measured {when}: the median over seeds, the band from the "
        "lowest seed to the highest.",
        panels=panels,
        keys=[Key(line, series.index(line), marked=False) for line in present],
        topic=topic,
    )


def _exhibit(name: str, rows: pd.DataFrame, limits: tuple[float, float], inliner: SvgInliner) -> Panel:
    rows = rows.tail(_LAST_POINTS)
    with panel_axes(150) as (figure, axes):
        axes.set_ylim(*limits)
        axes.plot(rows["x"], rows["answer"], color=theme.series(0), linewidth=1.6)
        axes.plot(rows["x"], rows["truth"], color=theme.INK, linewidth=1.0, linestyle=(0, (4, 2)))
        axes.set_xlim(rows["x"].min(), rows["x"].max())
        linear_ticks(axes)
        error = np.sqrt(np.nanmean((rows["answer"] - rows["truth"]) ** 2))
        words = f"{name}: the answer over the truth; root of the mean squared error {number(float(error), 2)}."
        return Panel(name, inliner.inline(figure, words))


def _score(name: str, rows: pd.DataFrame, series: Sequence[str], names: tuple[str, str], inliner: SvgInliner) -> Panel:
    against, what = names
    shown = [line for line in series if line in set(rows["series"])]
    with panel_axes(180) as (figure, axes):
        axes.set_ylim(0, 1.02)
        median_lines(axes, rows, against, "score", "series", {line: series.index(line) for line in shown})
        axes.set_xlim(0, None)
        axes.set_xlabel("passes over the data (epochs)" if against == "pass" else against)
        linear_ticks(axes)
        y_title(axes, what)
        last = rows[rows[against] == rows[against].max()].groupby("series")["score"].median()
        parts = [f"{number(float(last[line]))} with {line}" for line in shown if line in last]
        return Panel(name, inliner.inline(figure, f"{name}: {what} at the end: {listed(parts)}."))


def _limits(truth: pd.Series) -> tuple[float, float]:
    low, high = float(truth.min()), float(truth.max())
    margin = 0.25 * (high - low or 1.0)
    return low - margin, high + margin

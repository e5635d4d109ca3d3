"""Quantities against iteration: loss, norms, coefficients, one line each."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y
from gradscope.reporting.figures.lines import indices, median_lines
from gradscope.reporting.numbers import listed, number
from gradscope.reporting.panel import Panel, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

POINTS = 150
"""Most points of a line; a longer one is drawn by the medians of its stretches."""


@dataclass(frozen=True)
class Trend:
    """One panel of trends.

    Attributes:
        title: of the panel.
        table: `iteration`, `line`, `value`.
        names: lines in the order of the legend.
        unit: what the y axis shows.
        logarithmic: whether the y axis is.
        limits: of a linear axis; None fits it to the values.
        guide: a level to draw, for instance a healthy value.
        note: to stand under the panel.
    """

    title: str
    table: pd.DataFrame
    names: Sequence[str]
    unit: str
    logarithmic: bool = True
    guide: float | None = None
    limits: tuple[float, float] | None = None
    note: str = ""


def trend_panel(trend: Trend, inliner: SvgInliner) -> Panel | None:
    """Draw one panel of trends.

    Args:
        trend: what to draw.
        inliner: of the page.

    Returns:
        The panel; None if there is no finite value to draw.
    """
    values = trend.table["value"].to_numpy(float)
    drawable = np.isfinite(values) & ((values > 0) | (not trend.logarithmic))
    rows = _thinned(trend.table[drawable])
    if rows.empty:
        return None
    with panel_axes(180) as (figure, axes):
        levels = [*rows["value"], *([] if trend.guide is None else [trend.guide])]
        if trend.logarithmic:
            log_y(axes, min(levels) / 1.3, max(levels) * 1.3)
        else:
            axes.set_ylim(*(trend.limits or _linear_limits(levels)))
        median_lines(axes, rows, "iteration", "value", "line", indices(trend.names), band=False, linewidth=1.3)
        _dot_single_points(axes, rows, trend.names)
        if trend.guide is not None:
            axes.axhline(trend.guide, color=theme.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        axes.set_xlabel("iteration")
        axes.set_xlim(0, max(1.0, float(rows["iteration"].max()) * 1.02))
        linear_ticks(axes, y=not trend.logarithmic)
        y_title(axes, trend.unit)
        lost = int((~np.isfinite(values)).sum())
        they = "value was" if lost == 1 else "values were"
        missing = f" {lost:,} {they} not finite or missing and cannot be drawn." if lost else ""
        return Panel(trend.title, inliner.inline(figure, _label(trend, rows)), note=trend.note + missing)


def _linear_limits(levels: Sequence[float]) -> tuple[float, float]:
    """Return the ends of an axis around the values, never so close that rounding looks like a course."""
    low, high = min(levels), max(levels)
    margin = max(0.08 * (high - low), 0.01 * max(abs(low), abs(high)), 1e-12)
    return low - margin, high + margin


def _dot_single_points(axes: object, rows: pd.DataFrame, names: Sequence[str]) -> None:
    """Draw a line of one point as a dot: a line needs two."""
    for name, line in rows.groupby("line"):
        if len(line) == 1:
            colour = theme.series(list(names).index(str(name)))
            axes.plot(line["iteration"], line["value"], marker="o", markersize=4, color=colour)  # type: ignore[attr-defined]


def _thinned(rows: pd.DataFrame) -> pd.DataFrame:
    if rows.empty:
        return rows
    width = max(1, int(np.ceil((rows["iteration"].max() + 1) / POINTS)))
    stretch = (rows["iteration"] // width) * width
    thinned: pd.DataFrame = (
        rows.assign(iteration=stretch).groupby(["line", "iteration"])["value"].median().reset_index()
    )
    return thinned


def _label(trend: Trend, rows: pd.DataFrame) -> str:
    """Return a sentence that says what the panel shows."""
    ends = [(name, rows[rows["line"] == name]["value"]) for name in trend.names]
    parts = [f"{name} from {number(v.iloc[0])} to {number(v.iloc[-1])}" for name, v in ends[:6] if len(v)]
    return f"{trend.title}, {trend.unit}, over the iterations: {listed(parts)}."

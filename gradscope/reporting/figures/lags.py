"""Gradient against lag: how much of it is left so many times back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y, power_label
from gradscope.reporting.figures.lines import median_lines, stagger_markers
from gradscope.reporting.numbers import listed, share
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 1e-9
"""Lowest share that is drawn: a millionth of a thousandth teaches nothing more, and 1e-38 would flatten all else."""

CAPTION_OF_RUNS = (
    "How much of the gradient is left so many times back, relative to lag 0, as a mean over sequences: a straight "
    "falling line is exponential decay, and a line at 1 loses nothing. Solid at the end of training (the last "
    "quarter of the recorded iterations), dashed at the start (the first quarter). The dotted level is 1 %, below "
    "which nothing that matters arrives; the vertical line is the lag that the task needs, where the run says it. A "
    "cross on the bottom edge marks the lag from which the gradient is exactly 0 (underflow)."
)
CAPTION = (
    "How much of the gradient is left so many times back, relative to lag 0: a straight falling line is exponential "
    "decay, and a line at 1 loses nothing. Lines: the median over seeds, solid at the end of training (its last "
    "quarter), dashed at the start (its first quarter); bands run from the lowest seed to the highest, at the end. "
    "The dotted level is 1 %, below which nothing that matters arrives; the vertical line is the lag that the task "
    f"needs. Lines that leave at the bottom went below {power_label(-9)}. A cross on the bottom edge marks the lag "
    "from which the gradient is exactly 0 in the precision of the training (underflow)."
)


def lag_plate(
    lags: pd.DataFrame, title: str, series: Sequence[str], lag: float, inliner: SvgInliner, caption: str = CAPTION
) -> Plate:
    """Draw one panel a cell or layer, one line an initialisation or run.

    Args:
        lags: `panel`, `series`, `phase` ("start", "end"), `lag`, `share`, `zero_share`; a row for each repetition.
        title: heading of the figure; the page can show the figures of one title alone.
        series: names of all lines on the page, so that colours agree between its figures.
        lag: the lag that the task needs; NaN if unknown.
        inliner: of the page.
        caption: how to read it.

    Returns:
        The figure.
    """
    present = [name for name in series if name in set(lags["series"])]
    high = _ceiling(lags)
    panels = [_panel(str(name), rows, series, lag, high, inliner) for name, rows in lags.groupby("panel", sort=False)]
    keys = [Key(name, series.index(name)) for name in present] if len(series) > 1 else []
    return Plate(
        title=title,
        caption=caption,
        panels=panels,
        keys=[*keys, Key("end of training", None), Key("start", None, dashed=True)],
        topic=title,
    )


def _ceiling(lags: pd.DataFrame) -> float:
    """Return the top of the y axis: a little above 1, or above the largest share where something explodes."""
    finite = lags["share"].replace([np.inf, -np.inf], np.nan).max()
    return float(10 ** np.ceil(np.log10(max(3.0, min(finite, 1e12)))))


def _panel(name: str, rows: pd.DataFrame, series: Sequence[str], lag: float, high: float, inliner: SvgInliner) -> Panel:
    shown = [line for line in series if line in set(rows["series"])]
    colours = {line: series.index(line) for line in shown}
    # Values under the axis are moved to just below it: a logarithm of 0 would break the line off without a trace.
    drawn = rows.assign(share=rows["share"].clip(lower=FLOOR / 100, upper=high * 100))
    with panel_axes() as (figure, axes):
        log_y(axes, FLOOR, high)
        lines = ("lag", "share", "series", colours)
        start, end = drawn[drawn["phase"] == "start"], drawn[drawn["phase"] == "end"]
        median_lines(axes, start, *lines, band=False, linewidth=1.0, linestyle=(0, (4, 2)))
        medians = median_lines(axes, end, *lines)
        stagger_markers(axes, medians, *lines)
        _mark_underflow(axes, rows, shown, series)
        axes.axhline(0.01, color=theme.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        if np.isfinite(lag):
            axes.axvline(lag, color=theme.MUTED, linewidth=0.9)
        axes.set_xlim(0, max(rows["lag"].max(), lag if np.isfinite(lag) else 0) * 1.03)
        axes.set_xlabel("lag (times back from the loss)")
        linear_ticks(axes)
        y_title(axes, "gradient norm, relative to lag 0")
        return Panel(name, inliner.inline(figure, _label(name, end, shown, lag)))


def _mark_underflow(axes: "Axes", rows: pd.DataFrame, shown: Sequence[str], series: Sequence[str]) -> None:
    """Set a cross on the bottom edge at the first lag where every sequence's gradient is exactly 0, in most seeds."""
    for line in shown:
        ended = rows[(rows["series"] == line) & (rows["phase"] == "end")]
        dead = ended.groupby("lag")["zero_share"].median()
        first = dead.index[dead == 1]
        if len(first):
            axes.plot(
                [first[0]],
                [0],
                marker="x",
                markersize=6,
                markeredgewidth=2,
                clip_on=False,
                transform=axes.get_xaxis_transform(),
                color=theme.series(series.index(line)),
                zorder=5,
            )


def _label(name: str, end: pd.DataFrame, shown: Sequence[str], lag: float) -> str:
    """Return a sentence that says what the panel shows."""
    far = min(lag, end["lag"].max()) if np.isfinite(lag) else end["lag"].max()
    left = end[end["lag"] == far].groupby("series")["share"].median()
    parts = [f"{share(float(left[line]))} with {line}" for line in shown if line in left]
    if not parts:
        return f"{name}: no gradient was recorded."
    return f"{name}: share of the gradient that is left at lag {far:.0f} at the end of training: {listed(parts)}."

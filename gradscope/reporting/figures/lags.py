"""Gradient against lag: how much of it is left so many times back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
    "decay, and a line at 1 loses nothing. Lines are the median over seeds, bands run from the lowest seed to the "
    "highest; the end of training is its last quarter, the start its first. The dotted level is 1 %, below which "
    "nothing that matters arrives; the vertical line is the lag that the task needs. Lines that leave at the bottom "
    f"went below {power_label(-9)}. A cross on the bottom edge marks the lag from which the gradient is exactly 0 in "
    "the precision of the training (underflow)."
)


@dataclass(frozen=True)
class Frame:
    """What surrounds the lines, alike in all figures that are compared.

    Attributes:
        series: names of all lines on the page, in the order of their colours.
        lag: the lag that the task needs; NaN if unknown.
        high: top of the y axis.
    """

    series: Sequence[str]
    lag: float
    high: float


def lag_plate(lags: pd.DataFrame, title: str, frame: Frame, inliner: SvgInliner, caption: str = CAPTION) -> Plate:
    """Draw one panel a cell or layer, one line an initialisation or run; with both phases, the start is dashed.

    Args:
        lags: `panel`, `series`, `phase` ("start", "end"), `lag`, `share`, `zero_share`; a row for each repetition.
        title: heading of the figure.
        frame: of the panels.
        inliner: of the page.
        caption: how to read it.

    Returns:
        The figure.
    """
    present = [name for name in frame.series if name in set(lags["series"])]
    panels = [_panel(str(name), rows, frame, inliner) for name, rows in lags.groupby("panel", sort=False)]
    keys = [Key(name, frame.series.index(name)) for name in present] if len(frame.series) > 1 else []
    if len(set(lags["phase"])) > 1:
        keys += [Key("end of training", None), Key("start", None, dashed=True)]
    return Plate(title=title, caption=caption, panels=panels, keys=keys)


def ceiling(lags: pd.DataFrame) -> float:
    """Return the top of the y axis: a little above 1, or above the largest share where something explodes."""
    finite = lags["share"].replace([np.inf, -np.inf], np.nan).max()
    return float(10 ** np.ceil(np.log10(max(3.0, min(finite, 1e12)))))


def _panel(name: str, rows: pd.DataFrame, frame: Frame, inliner: SvgInliner) -> Panel:
    shown = [line for line in frame.series if line in set(rows["series"])]
    colours = {line: frame.series.index(line) for line in shown}
    # Values under the axis are moved to just below it: a logarithm of 0 would break the line off without a trace.
    drawn = rows.assign(share=rows["share"].clip(lower=FLOOR / 100, upper=frame.high * 100))
    phases = [phase for phase in ("start", "end") if phase in set(rows["phase"])]
    *before, latest = (drawn[drawn["phase"] == phase] for phase in phases)
    with panel_axes() as (figure, axes):
        log_y(axes, FLOOR, frame.high)
        lines = ("lag", "share", "series", colours)
        for earlier in before:
            median_lines(axes, earlier, *lines, band=False, linewidth=1.0, linestyle=(0, (4, 2)))
        stagger_markers(axes, median_lines(axes, latest, *lines), *lines)
        _mark_underflow(axes, latest, colours)
        axes.axhline(0.01, color=theme.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        if np.isfinite(frame.lag):
            axes.axvline(frame.lag, color=theme.MUTED, linewidth=0.9)
        # At least 1: a gradient may be there at lag 0 alone.
        axes.set_xlim(0, max(1, rows["lag"].max(), frame.lag if np.isfinite(frame.lag) else 0) * 1.03)
        axes.set_xlabel("lag (times back from the loss)")
        linear_ticks(axes)
        y_title(axes, "gradient norm, relative to lag 0")
        ended = rows[rows["phase"] == phases[-1]]
        return Panel(name, inliner.inline(figure, _label(name, ended, shown, frame.lag)))


def _mark_underflow(axes: "Axes", latest: pd.DataFrame, colours: Mapping[str, int]) -> None:
    """Set a cross on the bottom edge at the first lag where every sequence's gradient is exactly 0, in most seeds."""
    for line, index in colours.items():
        dead = latest[latest["series"] == line].groupby("lag")["zero_share"].median()
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
                color=theme.series(index),
                zorder=5,
            )


def _label(name: str, latest: pd.DataFrame, shown: Sequence[str], lag: float) -> str:
    """Return a sentence that says what the panel shows."""
    far = min(lag, latest["lag"].max()) if np.isfinite(lag) else latest["lag"].max()
    left = latest[latest["lag"] == far].groupby("series")["share"].median()
    parts = [f"{share(float(left[line]))} with {line}" for line in shown if line in left]
    if not parts:
        return f"{name}: no gradient was recorded."
    phase = latest["phase"].iloc[0]
    return f"{name}: share of the gradient that is left at lag {far:.0f} at the {phase} of training: {listed(parts)}."

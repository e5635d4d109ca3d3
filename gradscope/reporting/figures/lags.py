"""Gradient against lag: how much of it is left so many times back."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y, power_label
from gradscope.reporting.numbers import listed, share
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FLOOR = 1e-9
"""Lowest share that is drawn: a millionth of a thousandth teaches nothing more, and 1e-38 would flatten all else."""

CAPTION = (
    "How much of the gradient is left so many times back, relative to lag 0: a straight falling line is exponential "
    "decay, and a line at 1 loses nothing. Lines: the median over seeds, solid at the end of training (its last "
    "quarter), dashed at the start (its first quarter); bands run from the lowest seed to the highest, at the end. "
    "The dotted level is 1 %, below which nothing that matters arrives; the vertical line is the lag that the task "
    f"needs. Lines that leave at the bottom went below {power_label(-9)}. A cross on the bottom edge marks the lag "
    "from which the gradient is exactly 0 in the precision of the training (underflow)."
)


def lag_plate(lags: pd.DataFrame, task: str, initialisations: Sequence[str], lag: float, inliner: SvgInliner) -> Plate:
    """Draw one panel a cell, one line an initialisation.

    Args:
        lags: rows of `Comparison.lags` of one task and one clipping.
        task: the task, which heads the figure.
        initialisations: all of the study, so that colours agree between tasks.
        lag: the lag that the task needs; NaN if unknown.
        inliner: of the page.

    Returns:
        The figure.
    """
    present = [name for name in initialisations if name in set(lags["initialisation"])]
    high = _ceiling(lags)
    panels = [
        _panel(str(cell), rows, initialisations, lag, high, inliner) for cell, rows in lags.groupby("cell", sort=False)
    ]
    keys = [Key(name, initialisations.index(name)) for name in present]
    return Plate(
        title=task,
        caption=CAPTION,
        panels=panels,
        keys=[*keys, Key("end of training", None), Key("start", None, dashed=True)],
        topic=task,
    )


def _ceiling(lags: pd.DataFrame) -> float:
    """Return the top of the y axis: a little above 1, or above the largest share where something explodes."""
    finite = lags["share"].replace([np.inf, -np.inf], np.nan).max()
    return float(10 ** np.ceil(np.log10(max(3.0, min(finite, 1e12)))))


def _panel(
    cell: str, rows: pd.DataFrame, initialisations: Sequence[str], lag: float, high: float, inliner: SvgInliner
) -> Panel:
    import seaborn as sns

    shown = [name for name in initialisations if name in set(rows["initialisation"])]
    # Values under the axis are moved to just below it: a logarithm of 0 would break the line off without a trace.
    drawn = rows.assign(share=rows["share"].clip(lower=FLOOR / 100, upper=high * 100))
    palette = {name: theme.series(initialisations.index(name)) for name in shown}
    with panel_axes() as (figure, axes):
        log_y(axes, FLOOR, high)
        common = {"x": "lag", "y": "share", "hue": "initialisation", "hue_order": shown, "palette": palette}
        fixed = {"ax": axes, "legend": False, "estimator": "median"}
        start, end = drawn[drawn["phase"] == "start"], drawn[drawn["phase"] == "end"]
        sns.lineplot(start, **common, **fixed, errorbar=None, linewidth=1.0, linestyle=(0, (4, 2)), alpha=0.9)
        sns.lineplot(end, **common, **fixed, errorbar=("pi", 100), err_kws={"alpha": 0.18, "linewidth": 0})
        _mark(axes, end, shown, initialisations)
        _mark_underflow(axes, rows, shown, initialisations)
        axes.axhline(0.01, color=theme.MUTED, linewidth=0.9, linestyle=(0, (1, 2)))
        if np.isfinite(lag):
            axes.axvline(lag, color=theme.MUTED, linewidth=0.9)
        axes.set_xlim(0, max(rows["lag"].max(), lag if np.isfinite(lag) else 0) * 1.03)
        axes.set_xlabel("lag (times back from the loss)")
        linear_ticks(axes)
        y_title(axes, "gradient norm, relative to lag 0")
        return Panel(cell, inliner.inline(figure, _label(cell, end, shown, lag)))


def _mark(axes: "Axes", end: pd.DataFrame, shown: Sequence[str], initialisations: Sequence[str]) -> None:
    """Set a few markers on each line, staggered, so that lines are told apart without colour."""
    for place, name in enumerate(shown):
        line = end[end["initialisation"] == name].groupby("lag")["share"].median()
        index = initialisations.index(name)
        stride = max(1, len(line) // 5)
        some = line.iloc[(place * stride) // max(1, len(shown)) + 1 :: stride]
        axes.plot(
            some.index, some, linestyle="none", marker=theme.marker(index), markersize=4, color=theme.series(index)
        )


def _mark_underflow(axes: "Axes", rows: pd.DataFrame, shown: Sequence[str], initialisations: Sequence[str]) -> None:
    """Set a cross on the bottom edge at the first lag where every sequence's gradient is exactly 0."""
    for name in shown:
        ended = rows[(rows["initialisation"] == name) & (rows["phase"] == "end")]
        dead = ended.groupby("lag")["zero_share"].median()
        first = dead.index[dead >= 0.5]
        if len(first):
            axes.plot(
                [first[0]],
                [0],
                marker="x",
                markersize=6,
                markeredgewidth=2,
                clip_on=False,
                transform=axes.get_xaxis_transform(),
                color=theme.series(initialisations.index(name)),
                zorder=5,
            )


def _label(cell: str, end: pd.DataFrame, shown: Sequence[str], lag: float) -> str:
    """Return a sentence that says what the panel shows."""
    far = min(lag, end["lag"].max()) if np.isfinite(lag) else end["lag"].max()
    left = end[end["lag"] == far].groupby("initialisation")["share"].median()
    parts = [f"{share(float(left[name]))} with {name}" for name in shown if name in left]
    if not parts:
        return f"{cell}: no gradient was recorded."
    return f"{cell}: share of the gradient that is left at lag {far:.0f} at the end of training: {listed(parts)}."

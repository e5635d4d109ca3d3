"""Loss against iteration, beside what the trivial answer would lose."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y
from gradscope.reporting.figures.lines import median_lines
from gradscope.reporting.numbers import listed, number
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

BINS = 60
"""Points that a line has at most: a loss jumps from batch to batch, its course is what matters."""
_CAP = 20
"""How many times the baseline the axis reaches up: what diverges far beyond would flatten all else."""


def loss_plate(
    losses: pd.DataFrame, title: str, series: Sequence[str], baseline: float, meaning: str, inliner: SvgInliner
) -> Plate:
    """Draw one panel a cell, one line an initialisation or run, a band over the seeds.

    Args:
        losses: `panel`, `series`, `seed`, `iteration`, `loss`.
        title: heading of the figure; the page can show the figures of one title alone.
        series: names of all lines on the page, so that colours agree between its figures.
        baseline: loss of the trivial answer; NaN if unknown.
        meaning: what the trivial answer is, in words.
        inliner: of the page.

    Returns:
        The figure.
    """
    binned = binned_losses(losses, ["panel", "series", "seed"])
    low, high = _limits(binned["loss"], baseline)
    panels = [
        _panel(str(name), rows, series, baseline, (low, high), inliner)
        for name, rows in binned.groupby("panel", sort=False)
    ]
    present = [line for line in series if line in set(losses["series"])]
    keys = [Key(line, series.index(line), marked=False) for line in present]
    trivial = ""
    if np.isfinite(baseline):
        keys.append(Key(f"baseline {number(baseline)}", None, dashed=True))
        answer = f"the trivial answer ({meaning})" if meaning else "the trivial answer"
        trivial = (
            f" The dashed level is the loss of {answer}: a line that stays on it has learnt nothing that needs the "
            "sequence."
        )
    return Plate(
        title=title,
        caption=(
            "Training loss: the median over seeds of a running mean, the band from the lowest seed to the highest."
            f"{trivial}"
        ),
        panels=panels,
        keys=keys,
        topic=title,
    )


def binned_losses(losses: pd.DataFrame, keys: Sequence[str]) -> pd.DataFrame:
    """Average the loss over stretches of iterations, so that at most `BINS` points a line remain.

    Args:
        losses: with `iteration`, `loss` and the key columns.
        keys: the columns that name a line.

    Returns:
        One row a key and stretch; `iteration` is the stretch's middle; losses that are not finite are left out.
    """
    finite = losses[np.isfinite(losses["loss"].to_numpy(float))]
    width = max(1, int(np.ceil((finite["iteration"].max() + 1) / BINS))) if len(finite) else 1
    stretch = (finite["iteration"] // width) * width + (width - 1) / 2
    grouped = finite.assign(iteration=stretch).groupby([*keys, "iteration"], sort=False)["loss"].mean()
    table: pd.DataFrame = grouped.reset_index()
    return table


def _limits(losses: pd.Series, baseline: float) -> tuple[float, float]:
    """Return the ends of a logarithmic axis that shows the baseline.

    It does not chase a diverging loss upwards, unless nothing would be left to see.
    """
    positive = losses[losses > 0]
    if positive.empty:
        return 0.1, 10.0
    low, high = float(positive.min()), float(positive.max())
    if not (np.isfinite(baseline) and baseline > 0):
        return low / 1.3, high * 1.3
    cap = _CAP * baseline
    high = min(high, cap) if low <= cap else high
    return min(max(low, 1e-6 * baseline), baseline) / 1.3, max(high, baseline) * 1.3


def _above(rows: pd.DataFrame, shown: Sequence[str], high: float) -> str:
    """Return which lines lie above the frame as a whole: without a word they would seem to be missing."""
    lowest = rows.groupby("series")["loss"].min()
    parts = [f"{line} (never below {number(float(lowest[line]), 2)})" for line in shown if lowest[line] > high]
    return f"Above the frame: {listed(parts)}." if parts else ""


def _panel(
    name: str,
    rows: pd.DataFrame,
    series: Sequence[str],
    baseline: float,
    limits: tuple[float, float],
    inliner: SvgInliner,
) -> Panel:
    shown = [line for line in series if line in set(rows["series"])]
    colours = {line: series.index(line) for line in shown}
    with panel_axes(180) as (figure, axes):
        log_y(axes, *limits)
        median_lines(axes, rows, "iteration", "loss", "series", colours)
        if np.isfinite(baseline):
            axes.axhline(baseline, color=theme.INK, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set_xlim(0, None)
        axes.set_xlabel("iteration")
        linear_ticks(axes)
        y_title(axes, "loss")
        last = rows[rows["iteration"] == rows["iteration"].max()].groupby("series")["loss"].median()
        parts = [f"{number(float(last[line]))} with {line}" for line in shown if line in last]
        svg = inliner.inline(figure, f"{name}: training loss where its line ends: {listed(parts)}.")
        return Panel(name, svg, note=_above(rows, shown, limits[1]))

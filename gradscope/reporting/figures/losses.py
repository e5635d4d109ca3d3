"""Loss against iteration, beside what the trivial answer would lose."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y
from gradscope.reporting.numbers import listed, number
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

BINS = 60
"""Points that a line has at most: a loss jumps from batch to batch, its course is what matters."""


def loss_plate(
    losses: pd.DataFrame, task: str, initialisations: Sequence[str], baseline: float, meaning: str, inliner: SvgInliner
) -> Plate:
    """Draw one panel a cell, one line an initialisation, a band over the seeds.

    Args:
        losses: rows of `Comparison.losses` of one task and one clipping.
        task: the task, which heads the figure.
        initialisations: all of the study, so that colours agree between figures.
        baseline: loss of the trivial answer; NaN if unknown.
        meaning: what the trivial answer is, in words.
        inliner: of the page.

    Returns:
        The figure.
    """
    binned = binned_losses(losses, ["cell", "initialisation", "seed"])
    low, high = _limits(binned["loss"], baseline)
    panels = [
        _panel(str(cell), rows, initialisations, baseline, (low, high), inliner)
        for cell, rows in binned.groupby("cell", sort=False)
    ]
    present = [name for name in initialisations if name in set(losses["initialisation"])]
    keys = [Key(name, initialisations.index(name), marked=False) for name in present]
    trivial = f" ({meaning})" if meaning else ""
    if np.isfinite(baseline):
        keys.append(Key(f"baseline {number(baseline)}", None, dashed=True))
    return Plate(
        title=task,
        caption=(
            "Training loss: the median over seeds of a running mean, the band from the lowest seed to the highest. "
            f"The dashed level is the loss of the trivial answer{trivial}: a line that stays on it has learnt "
            "nothing that needs the sequence."
        ),
        panels=panels,
        keys=keys,
        topic=task,
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
    """Return the ends of a logarithmic axis that shows the baseline, and does not chase a diverging loss upwards."""
    positive = losses[losses > 0]
    anchor = baseline if np.isfinite(baseline) and baseline > 0 else float(positive.median()) if len(positive) else 1.0
    high = min(float(positive.max()) if len(positive) else anchor, 20 * anchor)
    low = max(float(positive.min()) if len(positive) else anchor, 1e-6 * anchor)
    return min(low, anchor) / 1.3, max(high, anchor) * 1.3


def _panel(
    cell: str,
    rows: pd.DataFrame,
    initialisations: Sequence[str],
    baseline: float,
    limits: tuple[float, float],
    inliner: SvgInliner,
) -> Panel:
    import seaborn as sns

    shown = [name for name in initialisations if name in set(rows["initialisation"])]
    palette = {name: theme.series(initialisations.index(name)) for name in shown}
    with panel_axes(180) as (figure, axes):
        log_y(axes, *limits)
        sns.lineplot(
            rows.assign(loss=rows["loss"].clip(*limits)),
            x="iteration",
            y="loss",
            hue="initialisation",
            hue_order=shown,
            palette=palette,
            estimator="median",
            errorbar=("pi", 100),
            err_kws={"alpha": 0.18, "linewidth": 0},
            legend=False,
            ax=axes,
        )
        if np.isfinite(baseline):
            axes.axhline(baseline, color=theme.INK, linewidth=0.9, linestyle=(0, (4, 2)))
        axes.set_xlim(0, None)
        axes.set_xlabel("iteration")
        linear_ticks(axes)
        y_title(axes, "loss")
        last = rows[rows["iteration"] == rows["iteration"].max()].groupby("initialisation")["loss"].median()
        parts = [f"{number(float(last[name]))} with {name}" for name in shown if name in last]
        return Panel(cell, inliner.inline(figure, f"{cell}: training loss at the end: {listed(parts)}."))

"""Lines with bands: the median over repetitions, and how far the repetitions spread."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import pandas as pd

from gradscope.reporting import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def median_lines(
    axes: "Axes",
    table: pd.DataFrame,
    x: str,
    y: str,
    by: str,
    colours: Mapping[str, int],
    *,
    band: bool = True,
    **line: Any,  # noqa: ANN401 - keywords of matplotlib
) -> pd.DataFrame:
    """Draw one line a value of the column `by`: the median of `y` at each `x`, a band from the lowest to the highest.

    Args:
        axes: to draw on.
        table: any number of rows for each (by, x).
        x: column across.
        y: column up.
        by: column that names the line.
        colours: name of a line -> its index in the theme; lines are drawn in this order.
        band: whether to draw the band.
        line: how the line is drawn, as matplotlib takes it.

    Returns:
        The medians: `by`, `x`, `y`.
    """
    import seaborn as sns

    # Aggregated here, not by seaborn: one grouping instead of a call for each point makes a page 2 seconds faster.
    spread = table.groupby([by, x], sort=True)[y].agg(["median", "min", "max"]).reset_index()
    medians = spread.rename(columns={"median": y})[[by, x, y]]
    shown = [name for name in colours if name in set(spread[by])]
    if not shown:
        return medians
    if "linestyle" not in line:
        styles = {name: theme.dashes(colours[name]) for name in shown}
        line = line | {"style": by, "style_order": shown, "dashes": styles}
    sns.lineplot(
        medians,
        x=x,
        y=y,
        hue=by,
        hue_order=shown,
        palette={name: theme.series(colours[name]) for name in shown},
        estimator=None,
        legend=False,
        ax=axes,
        **line,
    )
    if band:
        for name in shown:
            rows = spread[spread[by] == name]
            axes.fill_between(
                rows[x], rows["min"], rows["max"], color=theme.series(colours[name]), alpha=0.18, linewidth=0
            )
    return medians


def stagger_markers(axes: "Axes", lines: pd.DataFrame, x: str, y: str, by: str, colours: Mapping[str, int]) -> None:
    """Set a few markers on each line, staggered, so that lines are told apart without colour.

    Args:
        axes: that the lines are on.
        lines: as `median_lines` returned them.
        x: column across.
        y: column up.
        by: column that names the line.
        colours: name of a line -> its index in the theme.
    """
    shown = [name for name in colours if name in set(lines[by])]
    for place, name in enumerate(shown):
        line = lines[lines[by] == name]
        stride = max(1, len(line) // 5)
        some = line.iloc[(place * stride) // max(1, len(shown)) + len(line) // 20 :: stride]
        axes.plot(
            some[x],
            some[y],
            linestyle="none",
            marker=theme.marker(colours[name]),
            markersize=4.5,
            markeredgewidth=0,
            color=theme.series(colours[name]),
        )


def indices(names: Sequence[str]) -> dict[str, int]:
    """Return the index in the theme of each name, by its place."""
    return {name: index for index, name in enumerate(names)}

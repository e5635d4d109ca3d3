"""What each remedy changed, as an interval beside zero."""

import math
from collections.abc import Sequence

from gradscope.reporting import theme
from gradscope.reporting.numbers import number, tick
from gradscope.reporting.panel import Panel, panel_axes
from gradscope.reporting.svg import SvgInliner

_ROW = 26.0
"""Height of a remedy's row in points: its name, and its interval below."""


def change_panel(title: str, what: str, rows: Sequence[tuple[str, float, float, float]], inliner: SvgInliner) -> Panel:
    """Draw one interval a remedy.

    Args:
        title: heading of the panel.
        what: has changed, with its unit.
        rows: name, mean, low and high of each; those that are not finite are left out of the drawing.
        inliner: of the page.

    Returns:
        The panel.
    """
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    shown = [row for row in rows if all(math.isfinite(value) for value in row[1:])]
    with panel_axes(height=70 + _ROW * max(1, len(shown))) as (figure, axes):
        axes.axvline(0, color=theme.MUTED, linewidth=0.9)
        for place, (name, mean, low, high) in enumerate(reversed(shown)):
            index = 1 if low > 0 else 0 if high < 0 else None
            colour = theme.INK if index is None else theme.series(index)
            axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
            axes.plot([mean], [place], marker="o", markersize=4.5, color=colour, linestyle="none")
            axes.annotate(
                name,
                xy=(0, place),
                xycoords=("axes fraction", "data"),
                xytext=(-32, 5),
                textcoords="offset points",
                fontsize=9,
                color=theme.INK,
                annotation_clip=False,
            )
        axes.set_ylim(-0.5, max(1, len(shown)) - 0.1)
        axes.set_yticks([])
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axes.set_xlabel(what)
        said = "; ".join(f"{name} {number(mean, 2)}" for name, mean, _, _ in shown)
        return Panel(title, inliner.inline(figure, f"{title}, mean over seeds with 95 % interval: {said}."))

"""What each remedy changed, as an interval beside zero."""

import math
from collections.abc import Sequence

from gradscope.reporting import theme
from gradscope.reporting.numbers import number, tick
from gradscope.reporting.panel import WIDTH, Panel, panel_axes
from gradscope.reporting.svg import SvgInliner

_ROW = 20.0
"""Height of a remedy's row in points."""
_SIZE = 9.5
"""Size of the remedies' names in points."""
_GAP = 10.0
"""Between the names and the axis, tick included, in points."""
_WIDEST = 0.45 * WIDTH
"""Most room that the names get, in points; a longer one is cut: the table has it whole."""


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
    names = {name: _fitted(name) for name, *_ in rows}
    # From all names, those that are not drawn too, so that panels of the same remedies line up.
    left = _GAP + max((_width(name) for name in names.values()), default=0.0)
    with panel_axes(60 + _ROW * max(1, len(shown)), left) as (figure, axes):
        axes.axvline(0, color=theme.MUTED, linewidth=0.9)
        for place, (_, mean, low, high) in enumerate(reversed(shown)):
            index = 1 if low > 0 else 0 if high < 0 else None
            colour = theme.INK if index is None else theme.series(index)
            axes.plot([low, high], [place, place], color=colour, linewidth=1.6)
            axes.plot([mean], [place], marker="o", markersize=4.5, color=colour, linestyle="none")
        axes.set_ylim(-0.6, max(1, len(shown)) - 0.4)
        axes.set_yticks(range(len(shown)), [names[row[0]] for row in reversed(shown)])
        axes.tick_params(axis="y", labelsize=_SIZE, labelcolor=theme.INK, length=0)
        axes.grid(visible=False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
        axes.set_xlabel(what, loc="right")
        said = "; ".join(f"{name} {number(mean, 2)}" for name, mean, _, _ in shown)
        return Panel(title, inliner.inline(figure, f"{title}, mean over seeds with 95 % interval: {said}."))


def _fitted(name: str) -> str:
    """Return a name cut to the room that there is."""
    kept = name
    while _width(kept) > _WIDEST:
        kept = kept.removesuffix("…")[:-1] + "…"
    return kept


def _width(text: str) -> float:
    """Return how wide a name is drawn, in points; in matplotlib's own font, which is wider than most of a page's."""
    from matplotlib.textpath import TextPath

    return float(TextPath((0, 0), text, size=_SIZE).get_extents().width) if text else 0.0

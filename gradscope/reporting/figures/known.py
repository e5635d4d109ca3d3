"""Figures of cases with a known answer: the truth as a line, what was computed as marks upon it."""

from typing import TYPE_CHECKING

import numpy as np

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner
from gradscope.truth.case import Curve, Picture

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MARKS = 24
"""Most marks on a line."""

_KNOWN = "Lines: what is known. Marks: what gradscope computed."
_SHOWN = "No line of this figure is known beforehand; what is known of it stands in the table."


def known_plate(picture: Picture, title: str, inliner: SvgInliner) -> Plate:
    """Draw one case.

    Args:
        picture: its numbers.
        title: of the case, for readers who do not see the figure.
        inliner: of the page.

    Returns:
        The figure.
    """
    with panel_axes(height=220.0) as (figure, axes):
        if picture.log_y:
            log_y(axes, *_range(picture))
        for index, curve in enumerate(picture.curves):
            _draw(axes, curve, index, with_line=len(curve.x) > 1 and not _are_points(picture, curve))
        linear_ticks(axes, y=not picture.log_y)
        axes.set_xlabel(picture.x_label)
        y_title(axes, picture.y_label)
        svg = inliner.inline(figure, f"{title}: {picture.y_label} against {picture.x_label}, known and computed.")
    keys = [Key(curve.label, index, marked=curve.expected is not None) for index, curve in enumerate(picture.curves)]
    compared = any(curve.expected is not None for curve in picture.curves)
    return Plate(title="", caption=_KNOWN if compared else _SHOWN, panels=[Panel("", svg)], keys=keys)


def _draw(axes: "Axes", curve: Curve, index: int, *, with_line: bool) -> None:
    colour = theme.series(index)
    if with_line:
        known = curve.got if curve.expected is None else curve.expected
        axes.plot(curve.x, known, color=colour, linewidth=1.4, linestyle=theme.line_style(index))
    if curve.expected is None:
        return
    some = slice(None, None, max(1, len(curve.x) // _MARKS))
    axes.plot(
        curve.x[some],
        curve.got[some],
        linestyle="none",
        marker=theme.marker(index),
        markersize=4.5,
        markeredgewidth=0,
        color=colour,
    )


def _are_points(picture: Picture, curve: Curve) -> bool:
    """Return whether a curve is a few known points beside another curve that is the law."""
    laws = [other for other in picture.curves if other.expected is None]
    return curve.expected is not None and bool(laws)


def _range(picture: Picture) -> tuple[float, float]:
    values = np.array([value for curve in picture.curves for value in (*curve.got, *(curve.expected or ()))])
    positive = values[values > 0]
    return float(positive.min()) / 2, float(positive.max()) * 2

"""What was measured of a network besides its gradients' norms: lines of any kind, and matrices of sizes."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import linear_ticks, log_y
from gradscope.reporting.figures.heatmap import SPAN, colour_scale, log_pixels
from gradscope.reporting.numbers import number
from gradscope.reporting.panel import Key, Panel, Plate, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

MOST_PANELS = 12
_DASHES = (0, (4, 2))
_FLAT = 0.05
"""Share of the common axis below which a panel's lines would look like one flat line."""


def lines_plate(title: str, panels: Mapping[str, Mapping[str, Any]], topic: str, inliner: SvgInliner) -> Plate:
    """Draw one panel for each set of lines, all on the same axes but those that would be flat there.

    Args:
        title: heading of the figure.
        panels: panel title -> `Lines` as JSON says them, all of one kind.
        topic: the task that the figure is about.
        inliner: of the page.

    Returns:
        The figure.
    """
    shown = dict(list(panels.items())[:MOST_PANELS])
    colours = _colours(list(dict.fromkeys(name for one in shown.values() for name in one["lines"])))
    limits = _limits(list(shown.values()))
    return Plate(
        title=title,
        caption="",
        panels=[_lines(name, one, colours, limits, inliner) for name, one in shown.items()],
        keys=[Key(name, index, dashed=_is_known(name), marked=False) for name, index in colours.items()],
        topic=topic,
    )


def picture_plate(title: str, panels: Mapping[str, Mapping[str, Any]], topic: str, inliner: SvgInliner) -> Plate:
    """Draw one panel for each matrix, on one logarithmic colour scale.

    Args:
        title: heading of the figure.
        panels: panel title -> `Picture` as JSON says it, all of one kind.
        topic: the task that the figure is about.
        inliner: of the page.

    Returns:
        The figure.
    """
    shown = {name: (one, _numbers(one["values"])) for name, one in list(panels.items())[:MOST_PANELS]}
    positive = np.concatenate([values[np.isfinite(values) & (values > 0)] for _, values in shown.values()])
    high = float(positive.max()) if len(positive) else 1.0
    low = max(float(positive.min()) if len(positive) else 0.1, high * 10.0**-SPAN)
    low = low if low < high else high / 10
    zero = any((values == 0).any() for _, values in shown.values())
    return Plate(
        title=title,
        caption="",
        panels=[_picture(name, one, values, (low, high), inliner) for name, (one, values) in shown.items()],
        scale=colour_scale(low, high, zero=zero, missing=False, label="size"),
        topic=topic,
    )


def _lines(
    name: str, one: Mapping[str, Any], colours: Mapping[str, int], limits: tuple[float, float], inliner: SvgInliner
) -> Panel:
    x = _numbers(one["x"])
    own = _own_limits(one, limits)
    with panel_axes(190) as (figure, axes):
        if one["log_y"]:
            log_y(axes, *limits)
        else:
            axes.set_ylim(*(own or limits))
        for line, values in one["lines"].items():
            y = _numbers(values)
            # A zero has no place on a logarithmic axis: the line ends before it.
            y[(y <= 0) & bool(one["log_y"])] = np.nan
            _draw(axes, x, y, colours[line], known=_is_known(line))
        axes.set_xlim(x.min(), x.max())
        linear_ticks(axes, y=not one["log_y"])
        axes.set_xlabel(one["x_name"])
        y_title(axes, one["y_name"])
        return Panel(name, inliner.inline(figure, _label(name, one)), note="On a scale of its own." if own else "")


def _draw(axes: "Axes", x: "NDArray[np.float64]", y: "NDArray[np.float64]", index: int, *, known: bool) -> None:
    axes.plot(
        x,
        y,
        color=theme.series(index),
        linewidth=1.2 if known else 1.7,
        linestyle=_DASHES if known else theme.line_style(index),
    )


def _picture(
    name: str,
    one: Mapping[str, Any],
    values: "NDArray[np.float64]",
    limits: tuple[float, float],
    inliner: SvgInliner,
) -> Panel:
    rows, columns = values.shape
    with panel_axes(260) as (figure, axes):
        axes.imshow(
            log_pixels(values, *limits),
            origin="lower",
            aspect="auto",
            interpolation="none",
            extent=(-0.5, columns - 0.5, -0.5, rows - 0.5),
        )
        axes.grid(visible=False)
        axes.set_xlabel(one["x_name"])
        linear_ticks(axes, y=True)
        y_title(axes, one["y_name"])
        largest = number(float(np.nanmax(values)), 2) if np.isfinite(values).any() else "nothing"
        words = f"{name}: {one['name']}, {rows} by {columns}; the largest is {largest}."
        return Panel(name, inliner.inline(figure, words))


def _limits(panels: Sequence[Mapping[str, Any]]) -> tuple[float, float]:
    """Return the ends of the y axis that all panels share."""
    if panels[0].get("limits"):
        low, high = panels[0]["limits"]
        return float(low), float(high)
    values = np.concatenate([_numbers(line) for one in panels for line in one["lines"].values()])
    logarithmic = bool(panels[0]["log_y"])
    drawn = values[np.isfinite(values) & ((values > 0) | (not logarithmic))]
    if not len(drawn):
        return 0.1, 10.0
    low, high = float(drawn.min()), float(drawn.max())
    if logarithmic:
        return max(low, high * 10.0 ** -(2 * SPAN)) / 1.5, high * 1.5
    margin = 0.06 * (high - low or 1.0)
    return low - margin, high + margin


def _own_limits(one: Mapping[str, Any], limits: tuple[float, float]) -> tuple[float, float] | None:
    """Return the ends of a panel's own linear axis where its lines would be flat on the common one."""
    if one["log_y"] or one.get("limits"):
        return None
    values = np.concatenate([_numbers(line) for line in one["lines"].values()])
    span = float(np.ptp(values[np.isfinite(values)])) if np.isfinite(values).any() else 0.0
    return _limits([one]) if 0 < span < _FLAT * (limits[1] - limits[0]) else None


def _colours(names: Sequence[str]) -> dict[str, int]:
    """Return the index in the theme of each line; what is known of a line has that line's own."""
    known, measured = ([name for name in names if _is_known(name) is wanted] for wanted in (True, False))
    places = {name: index for group in (known, measured) for index, name in enumerate(group)}
    return {name: places[name] for name in names}


def _is_known(name: str) -> bool:
    """Return whether a line is what a closed form says, to be drawn dashed over what was measured."""
    return "known" in name


def _numbers(values: Sequence[Any]) -> "NDArray[np.float64]":
    """Return JSON's numbers as an array; None is NaN."""
    return np.array(values, dtype=float)


def _label(name: str, one: Mapping[str, Any]) -> str:
    """Return a sentence that says what the panel shows."""
    ends = []
    for line, values in list(one["lines"].items())[:4]:
        finite = [value for value in values if value is not None]
        if finite:
            ends.append(f"{line} from {number(finite[0], 2)} to {number(finite[-1], 2)}")
    return f"{name}: {one['y_name']} against {one['x_name']}: {'; '.join(ends)}."

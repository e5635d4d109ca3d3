"""Iteration against time: where in the sequence the gradient lives, and how that changes while the model trains."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from gradscope.reporting import theme
from gradscope.reporting.figures.axes import decades, linear_ticks, power_label
from gradscope.reporting.numbers import FACTOR_ABOVE, number, share
from gradscope.reporting.panel import Panel, Plate, Scale, panel_axes, y_title
from gradscope.reporting.svg import SvgInliner

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

COLUMNS, ROWS = 240, 160
"""Most pixels that an image has: finer than a panel can show."""
SPAN = 10
"""Decades that the colour scale covers below each panel's largest norm; what lies below has the lowest colour."""
_MAP = "viridis"

CAPTION = (
    "Norm of the total gradient at each time of the sequence (up) and iteration (right), on one logarithmic colour "
    "scale for all panels. Where the loss is at the top, an even column means that the gradient reaches the first "
    "times undiminished, and a column that darkens downwards means that it vanishes on its way back. "
)


def heatmap_plate(
    title: str,
    tables: Mapping[str, pd.DataFrame],
    inliner: SvgInliner,
    *,
    caption: str = "",
    topic: str = "",
    where: Mapping[str, str] | None = None,
) -> Plate:
    """Draw one panel for each table, on one colour scale.

    Args:
        title: heading of the figure.
        tables: panel title -> rows with `iteration`, `time`, `total_gradient_norm`.
        inliner: of the page.
        caption: what to add to the general caption.
        topic: the task that the figure is about.
        where: panel title -> where the loss enters, in words; at the top if it is not among them.

    Returns:
        The figure.
    """
    each = [table["total_gradient_norm"].to_numpy(float) for table in tables.values()]
    norms = np.concatenate(each)
    low, high = _limits(each)
    places = dict.fromkeys(tables, "the loss is at the top") | dict(where or {})
    panels = [_panel(name, table, low, high, inliner, places[name]) for name, table in tables.items()]
    return Plate(
        title=title,
        caption=CAPTION + caption,
        panels=panels,
        scale=colour_scale(low, high, zero=bool((norms == 0).any()), missing=bool((~np.isfinite(norms)).any())),
        topic=topic,
    )


def _limits(panels: Sequence["NDArray[np.float64]"]) -> tuple[float, float]:
    """Return the norms at both ends of the colour scale; a panel that explodes does not drown the others in black."""
    positive = [norms[np.isfinite(norms) & (norms > 0)] for norms in panels]
    positive = [norms for norms in positive if len(norms)]
    if not positive:
        return 1e-10, 1.0
    high = max(float(norms.max()) for norms in positive)
    low = min(max(float(norms.min()), float(norms.max()) * 10.0**-SPAN) for norms in positive)
    return (low, high) if low < high else (high / 10, high)


def _panel(name: str, table: pd.DataFrame, low: float, high: float, inliner: SvgInliner, where: str) -> Panel:
    if table.empty:
        raise ValueError(f"panel {name!r} has no rows; leave it out")
    grid = table.pivot_table(index="time", columns="iteration", values="total_gradient_norm", dropna=False)
    iterations, times = grid.columns.to_numpy(float), grid.index.to_numpy(float)
    first, last = iterations[0], iterations[-1]
    span = max(last - first, 1.0)
    with panel_axes() as (figure, axes):
        axes.imshow(
            _pixels(grid, low, high),
            origin="lower",
            aspect="auto",
            interpolation="none",
            extent=(first, first + span, times[0] - 0.5, times[-1] + 0.5),
        )
        axes.grid(visible=False)
        axes.set_facecolor("none")
        axes.set_xlabel("iteration")
        linear_ticks(axes)
        _time_ticks(axes, times[-1])
        y_title(axes, f"time ({where})")
        svg = inliner.inline(figure, _label(name, grid, where))
    return Panel(name, svg, note="" if len(iterations) > 1 else "Only one iteration was recorded.")


def _time_ticks(axes: "Axes", last: float) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True))
    if last < 1:
        axes.set_yticks([0])


def _pixels(grid: pd.DataFrame, low: float, high: float) -> "NDArray[np.uint8]":
    """Return the image: for each pixel the recorded iteration nearest to it, zeros and non-finite values set apart."""
    iterations = grid.columns.to_numpy(float)
    wanted = np.linspace(iterations[0], iterations[-1], min(COLUMNS, max(len(iterations) * 4, 2)))
    middles = (iterations[1:] + iterations[:-1]) / 2
    columns = np.searchsorted(middles, wanted)
    rows = np.linspace(0, len(grid) - 1, min(ROWS, len(grid))).round().astype(int)
    return log_pixels(grid.to_numpy(float)[np.ix_(rows, columns)], low, high)


def colour_scale(
    low: float, high: float, *, zero: bool, missing: bool, label: str = "norm of the total gradient"
) -> Scale:
    """Return the logarithmic scale of a heatmap's colours.

    Args:
        low: value of the lowest colour.
        high: value of the highest one.
        zero: whether exact zeros are in the figure.
        missing: whether values that are not finite are in the figure.
        label: what the colours mean.

    Returns:
        The scale.
    """
    import matplotlib as mpl

    colours = [mpl.colors.to_hex(mpl.colormaps[_MAP](position)) for position in np.linspace(0, 1, 12)]
    width = np.log10(high) - np.log10(low)
    exponents = decades(low, high, 6)
    ticks = [(100 * (exponent - np.log10(low)) / width, power_label(exponent)) for exponent in exponents]
    if len(ticks) < 2:
        ticks = [(0.0, number(low, 2)), (100.0, number(high, 2))]
    return Scale(colours, ticks, label, zero=zero, missing=missing)


def log_pixels(values: "NDArray[np.float64]", low: float, high: float) -> "NDArray[np.uint8]":
    """Return an image: colours by the logarithm, exact zeros and what is not finite set apart.

    Args:
        values: a matrix of sizes.
        low: value of the lowest colour.
        high: value of the highest one.

    Returns:
        Red, green, blue and opacity of each.
    """
    import matplotlib as mpl

    with np.errstate(divide="ignore", invalid="ignore"):
        level = (np.log(values) - np.log(low)) / (np.log(high) - np.log(low))
    image = mpl.colormaps[_MAP](np.clip(np.nan_to_num(level, nan=0.0, posinf=1.0, neginf=0.0), 0, 1), bytes=True)
    image[values == 0] = (*bytes.fromhex(theme.ZERO[1:]), 255)
    image[~np.isfinite(values)] = 0
    pixels: NDArray[np.uint8] = image
    return pixels


def _label(name: str, grid: pd.DataFrame, where: str) -> str:
    """Return what the panel shows, in words that hold wherever the loss enters."""
    first, last = (grid[iteration].dropna() for iteration in (grid.columns[0], grid.columns[-1]))
    begin, end = (_reach(column) for column in (first, last))
    return (
        f"{name}: total gradient by time and iteration; {where}. At the first time its norm is {begin} that at "
        f"the last in iteration {grid.columns[0]}, and {end} that in iteration {grid.columns[-1]}."
    )


def _reach(column: pd.Series) -> str:
    """Return how large the gradient at the first time is, beside that at the last."""
    if column.empty or not np.isfinite(column.iloc[[0, -1]]).all() or column.iloc[-1] == 0:
        return "an unknown share of"
    ratio = float(column.iloc[0] / column.iloc[-1])
    return "nothing of" if ratio == 0 else f"{share(ratio)}{'' if ratio > FACTOR_ABOVE else ' of'}"

"""Figures of a probe for notebooks: plain matplotlib, in the colours of the reports' light theme."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from gradscope.reporting import theme

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FLOOR = 1e-12
"""Smallest share that is drawn, relative to the largest value of its axis."""
_FIRST_CALL = 0


def lag_figure(lags: pd.DataFrame) -> "Figure":
    """Draw what is left of a loss time's gradient so many times back, one line a recurrence.

    Args:
        lags: `layer`, `call`, `lag`, `share`.

    Returns:
        The figure.
    """

    def draw(axes: "Axes", table: pd.DataFrame, line: dict[str, Any]) -> None:
        shown = table[table["share"] > _FLOOR]
        axes.plot(shown["lag"], shown["share"], **line)

    return _figure(lags, draw, x="lag", y="share of the gradient left", log_y=True, level=0.01)


def time_figure(times: pd.DataFrame) -> "Figure":
    """Draw total (solid) and direct gradients (dotted) against the time in the sequence.

    Args:
        times: `layer`, `call`, `time`, `total_gradient_norm`, `direct_gradient_norm`.

    Returns:
        The figure.
    """
    floor = _FLOOR * float(times["total_gradient_norm"].max())

    def draw(axes: "Axes", table: pd.DataFrame, line: dict[str, Any]) -> None:
        total = table[table["total_gradient_norm"] > floor]
        axes.plot(total["time"], total["total_gradient_norm"], **line)
        direct = table[table["direct_gradient_norm"] > floor]
        dotted = line | {"label": None, "linestyle": "none", "marker": ".", "alpha": 0.6}
        axes.plot(direct["time"], direct["direct_gradient_norm"], **dotted)

    return _figure(times, draw, x="time", y="gradient: total (line), direct (dots)", log_y=True)


def truncation_figure(truncation: pd.DataFrame) -> "Figure":
    """Draw the relative error of a truncated gradient against the truncation length, one line a recurrence.

    Args:
        truncation: `layer`, `call`, `length`, `relative_error`.

    Returns:
        The figure.
    """

    def draw(axes: "Axes", table: pd.DataFrame, line: dict[str, Any]) -> None:
        shown = table[table["relative_error"] > _FLOOR]
        axes.plot(shown["length"], shown["relative_error"], **line)

    return _figure(truncation, draw, x="truncation length", y="relative error", log_y=True, level=0.1)


def exponent_figure(exponents: pd.DataFrame) -> "Figure":
    """Draw the Lyapunov exponents by size, with their intervals.

    Args:
        exponents: `layer`, `call`, `index`, `exponent`, `low`, `high`.

    Returns:
        The figure.
    """

    def draw(axes: "Axes", table: pd.DataFrame, line: dict[str, Any]) -> None:
        finite = table[np.isfinite(table["exponent"].to_numpy(float))]
        axes.plot(finite["index"], finite["exponent"], **(line | {"marker": "o", "markersize": 3.5}))
        axes.fill_between(finite["index"], finite["low"], finite["high"], color=line["color"], alpha=0.18, linewidth=0)

    return _figure(exponents, draw, x="exponent, by size", y="nats per time", level=0.0, whole=True)


def jacobian_figure(jacobians: pd.DataFrame) -> "Figure":
    """Draw the largest singular value (solid) and the spectral radius (dashed) of each time's Jacobian.

    Args:
        jacobians: `layer`, `call`, `time`, `largest_singular_value`, `spectral_radius`.

    Returns:
        The figure.
    """

    def draw(axes: "Axes", table: pd.DataFrame, line: dict[str, Any]) -> None:
        axes.plot(table["time"], table["largest_singular_value"], **line)
        axes.plot(table["time"], table["spectral_radius"], **(line | {"label": None, "linestyle": "--"}))

    return _figure(jacobians, draw, x="time", y="largest singular value (line), spectral radius (dashed)", level=1.0)


def product_figure(jacobians: pd.DataFrame) -> "Figure":
    """Draw the norm of the product of all Jacobians from a time to the end, against how far back that time is.

    Args:
        jacobians: `layer`, `call`, `lag`, `log_product_norm`.

    Returns:
        The figure.
    """

    def draw(axes: "Axes", table: pd.DataFrame, line: dict[str, Any]) -> None:
        shown = table[np.isfinite(table["log_product_norm"].to_numpy(float))].sort_values("lag")
        axes.plot(shown["lag"], shown["log_product_norm"] / np.log(10), **line)

    return _figure(jacobians, draw, x="lag", y="product of Jacobians, log10 of its norm", level=0.0)


def _figure(
    table: pd.DataFrame,
    draw: Callable[["Axes", pd.DataFrame, dict[str, Any]], None],
    *,
    x: str,
    y: str,
    log_y: bool = False,
    level: float | None = None,
    whole: bool = False,
) -> "Figure":
    """Return a figure with one line a recurrence, a legend, and a dotted line at a level that matters."""
    from matplotlib.ticker import MaxNLocator

    figure, axes = _axes()
    for index, (name, part) in enumerate(_recurrences(table)):
        colour = theme.LIGHT[f"series-{index % theme.SERIES}"]
        draw(axes, part, {"color": colour, "label": name, "linewidth": 1.6, "linestyle": theme.line_style(index)})
    if level is not None:
        axes.axhline(level, color=theme.LIGHT["muted"], linewidth=0.8, linestyle=":")
    if log_y and axes.has_data() and (np.concatenate([line.get_ydata() for line in axes.lines]) > 0).any():
        axes.set_yscale("log")
    if whole:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel(x)
    axes.set_title(y, loc="left", fontsize=10, color=theme.LIGHT["muted"])
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=9)
    return figure


def _recurrences(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    for (layer, call), part in table.groupby(["layer", "call"], sort=False):
        yield (str(layer) if call == _FIRST_CALL else f"{layer}, call {call}"), part


def _axes() -> tuple["Figure", "Axes"]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.2), layout="constrained", facecolor=theme.LIGHT["page"])
    axes = figure.add_subplot(facecolor="none")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=theme.LIGHT["line"], linewidth=0.7)
    return figure, axes

"""Axes that the figures share: logarithmic ones with readable powers, linear ones with few ticks."""

from typing import TYPE_CHECKING

import numpy as np

from gradscope.reporting.numbers import power, tick

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PLAIN = {-2: "0.01", -1: "0.1", 0: "1", 1: "10", 2: "100"}


def power_label(exponent: int) -> str:
    """Return the label of a power of ten.

    Returns:
        For instance `0.1`, `10⁻⁸`.
    """
    return _PLAIN.get(exponent, f"10{power(exponent)}")


def decades(low: float, high: float, most: int = 5) -> list[int]:
    """Return exponents of ten inside [low, high] at equal distances, multiples of it, at most `most` of them."""
    first, last = int(np.ceil(np.log10(low) - 1e-9)), int(np.floor(np.log10(high) + 1e-9))
    every = next(step for step in (1, 2, 3, 5, 10, 20, 50, 100, 200) if (last - first) // step < most or step == 200)
    return [exponent for exponent in range(first, last + 1) if exponent % every == 0]


def log_y(axes: "Axes", low: float, high: float) -> None:
    """Make the y axis logarithmic from `low` to `high`, labelled at a few powers of ten."""
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.minorticks_off()
    exponents = decades(low, high)
    if len(exponents) >= 3:
        axes.set_yticks([10.0**exponent for exponent in exponents], [power_label(exponent) for exponent in exponents])
        return
    values = _round_values(low, high)
    axes.set_yticks(values, [tick(value) for value in values])


def _round_values(low: float, high: float) -> list[float]:
    """Return values to label where there are less than three powers of ten: 1, 2, 5 of each if they fit."""
    first, last = int(np.floor(np.log10(low))), int(np.ceil(np.log10(high)))
    for digits in ((1, 2, 5), (1, 1.5, 2, 3, 4, 5, 6, 8)):
        values = [digit * 10.0**exponent for exponent in range(first, last + 1) for digit in digits]
        inside = [value for value in values if low <= value <= high]
        if len(inside) >= 3:
            return inside
    return [float(f"{value:.2g}") for value in np.linspace(low, high, 5)[1:-1]]


def linear_ticks(axes: "Axes", most: int = 5, *, x: bool = True, y: bool = False) -> None:
    """Put few round ticks on linear axes, whole numbers on x."""
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    if x:
        axes.xaxis.set_major_locator(MaxNLocator(most, integer=True))
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))
    if y:
        axes.yaxis.set_major_locator(MaxNLocator(most))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: tick(value)))

"""Numbers as a person would say them."""

import math
import sys

_LARGEST = 10.0**sys.float_info.max_10_exp
"""A power of ten that is still a number."""


def number(value: float) -> str:
    """Return a number with three digits: 0.0123, 4.57, 123, 1.2e-09."""
    if math.isnan(value):
        return "an unknown number"
    if math.isinf(value):
        return "infinity" if value > 0 else "-infinity"
    if value == 0:
        return "0"
    if 1e-3 <= abs(value) < 1e5:
        rounded = float(f"{value:.3g}")
        return f"{rounded:,.0f}" if abs(rounded) >= 100 else f"{rounded:.3g}"
    return f"{value:.1e}"


def percent(share: float) -> str:
    """Return a share in percent: 37 %, 0.52 %, 1.2e-07 %."""
    if not math.isfinite(share):
        return number(share)
    value = 100 * share if share else 0.0
    return f"{value:,.0f} %" if value >= 10 else f"{value:.2g} %" if value >= 1e-3 or value == 0 else f"{value:.1e} %"


def fold(factor: float) -> str:
    """Return a factor of growth: 12.5-fold; that of a number too large to be held is said as such."""
    return f"more than {_LARGEST:.0e}-fold" if factor == math.inf else f"{number(factor)}-fold"


def steps(count: int) -> str:
    """Return a number of time steps: 1 time step, 20 time steps."""
    return f"{count} time step" if count == 1 else f"{count:,} time steps"

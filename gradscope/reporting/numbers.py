# ruff: noqa: RUF001, RUF002 - true minus signs and multiplication signs are what this module is for
"""Numbers as people read them: half-lives in times, shares in percent, the very small in powers of ten."""

import math

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
MISSING = "–"
UNKNOWN = "not known"
TIMES = "×"
FACTOR_ABOVE = 10
"""A share above it is told as a factor."""

_SHORTEST = 0.05
"""Half-life in times that is told."""


def number(value: float, digits: int = 3) -> str:
    """Return a number with `digits` significant digits; powers of ten where plain digits would not be read.

    Returns:
        For instance `0.167`, `1 200`, `3.1 × 10⁻⁸`, or a dash if the value is missing.
    """
    if math.isnan(value):
        return MISSING
    if math.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0:
        return "0"
    # The exponent after rounding: 0.9999 to three digits is 1.00.
    exponent = int(f"{value:.{digits - 1}e}".split("e")[1])
    if not -4 < exponent < 5:
        return scientific(value)
    rounded = round(value, digits - 1 - exponent)
    text = f"{rounded:,.{max(0, digits - 1 - exponent)}f}".replace(",", "\u202f")
    return text.replace("-", "−")


def tick(value: float) -> str:
    """Return a number that labels an axis: as short as it can be.

    Returns:
        For instance `0.25`, `0.002`, `1 200`.
    """
    short = float(f"{value:.6g}")
    if short and not -5 < math.floor(math.log10(abs(short))) < 6:
        mantissa, exponent = f"{short:.3e}".split("e")
        return f"{mantissa.rstrip('0').rstrip('.')}×10{power(int(exponent))}".replace("-", "−")
    return f"{short:,.10f}".rstrip("0").rstrip(".").replace(",", "\u202f").replace("-", "−")


def scientific(value: float, digits: int = 2) -> str:
    """Return a number as a power of ten with so many significant digits before it.

    Returns:
        For instance `3.1 × 10⁻⁸`.
    """
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa.replace('-', '−')}\u202f×\u202f10{power(int(exponent))}"


def power(exponent: int) -> str:
    """Return an exponent in superscript digits.

    Returns:
        For instance `⁻⁸`.
    """
    return str(exponent).translate(_SUPERSCRIPT)


def share(value: float) -> str:
    """Return a share of the gradient: in percent while that can be read, as a power of ten below, as a factor above 1.

    Returns:
        For instance `12 %`, `3.1 × 10⁻⁸`, `40 times`, `exactly 0`.
    """
    if math.isnan(value):
        return MISSING
    if value == 0:
        return "exactly 0"
    if value > FACTOR_ABOVE:
        return f"{number(value, 2)} times"
    if value < 0.0001:
        return scientific(value)
    return f"{number(100 * value, 2)}\u202f%"


def half_life(value: float) -> str:
    """Return a half-life in times, two significant digits, one decimal at least below ten.

    Returns:
        For instance `3.2`, `140`, `∞`.
    """
    if value < _SHORTEST:
        return "< 0.1"
    return number(value, 2)


def half_life_interval(rate_low: float, rate_high: float) -> str:
    """Return the interval of the half-life that an interval of the decay rate means.

    A rate interval that holds 0 has no upper bound for the half-life.

    Returns:
        For instance `2.9 to 3.6`, `40 or more`, `not known`, or a dash if the interval is missing.
    """
    if math.isnan(rate_low) or math.isnan(rate_high):
        return MISSING
    ends = sorted(math.log(2) / abs(rate) if rate else math.inf for rate in (rate_low, rate_high))
    if rate_low <= 0 <= rate_high:
        # From next to no time on, it could be anything.
        return f"{half_life(ends[0])} or more" if ends[0] >= _SHORTEST else UNKNOWN
    if half_life(ends[0]) == half_life(ends[1]):
        return half_life(ends[0])
    return f"{half_life(ends[0])} to {half_life(ends[1])}"


def seconds(value: float) -> str:
    """Return a duration.

    Returns:
        For instance `4.2 s`, `3 min 05 s`.
    """
    if math.isnan(value):
        return MISSING
    if value < 60:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min"


def after(iterations: int) -> str:
    """Return a stop in the training.

    Returns:
        For instance `after 200 iterations`, `before training`.
    """
    return f"after {counted(iterations, 'iteration')}" if iterations else "before training"


def counted(count: int, singular: str, plural: str | None = None) -> str:
    """Return a count with its noun.

    Returns:
        For instance `1 setting`, `3 settings`.
    """
    return f"{count} {singular if count == 1 else plural or singular + 's'}"


def listed(words: list[str]) -> str:
    """Join words as a sentence does.

    Returns:
        For instance `a, b and c`.
    """
    return " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else "".join(words)

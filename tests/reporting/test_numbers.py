# ruff: noqa: RUF001 - the multiplication sign is what is tested
"""Numbers in words."""

import math

import pytest

from gradscope.reporting import numbers


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "0"),
        (1 / 6, "0.167"),
        (0.99999, "1.00"),
        (1234.5, "1\u202f230"),
        (3.14e-8, "3.1\u202f×\u202f10⁻⁸"),
        (-2.5, "\u22122.50"),
        (math.inf, "∞"),
        (math.nan, numbers.MISSING),
    ],
)
def test_number(value: float, words: str) -> None:
    """Three digits, powers of ten where plain digits cannot be read."""
    assert numbers.number(value) == words


def test_scientific_keeps_the_digits_that_are_asked_for() -> None:
    """Two where nothing is said."""
    assert numbers.scientific(4.61e13) == "4.6\u202f×\u202f10¹³"
    assert numbers.scientific(-4.6123e13, 4) == "\u22124.612\u202f×\u202f10¹³"


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0.0, "exactly 0"),
        (1.0, "100\u202f%"),
        (0.0123, "1.2\u202f%"),
        (1e-12, "1.0\u202f×\u202f10⁻¹²"),
        (47.0, "47 times"),
        (math.nan, numbers.MISSING),
    ],
)
def test_share(value: float, words: str) -> None:
    """Percent while it can be read; exact zeros are not called small."""
    assert numbers.share(value) == words


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (-0.2, -0.1, "3.5 to 6.9"),
        (-0.1001, -0.1, "6.9"),
        (-0.1, 0.02, "6.9 or more"),
        (math.nan, math.nan, numbers.MISSING),
        (-math.inf, -math.inf, "< 0.1"),
        (-math.inf, math.inf, "not known"),
        (-49.5, 40.1, "not known"),
        (-math.inf, -0.1, "< 0.1 to 6.9"),
    ],
)
def test_half_life_interval(low: float, high: float, words: str) -> None:
    """An interval of the rate that holds 0 has no longest half-life."""
    assert numbers.half_life_interval(low, high) == words


@pytest.mark.parametrize(
    ("value", "words"), [(0.25, "0.25"), (0.002, "0.002"), (1200.0, "1\u202f200"), (2e-7, "2×10⁻⁷")]
)
def test_tick(value: float, words: str) -> None:
    """Labels of axes are as short as they can be."""
    assert numbers.tick(value) == words


@pytest.mark.parametrize(("value", "words"), [(4.24, "4.2 s"), (185.0, "3 min 05 s"), (7260.0, "2 h 01 min")])
def test_seconds(value: float, words: str) -> None:
    """Durations are said in the largest units that fit."""
    assert numbers.seconds(value) == words


def test_listed() -> None:
    """Words are joined as a sentence joins them."""
    assert [numbers.listed(list("abc"[:count])) for count in range(4)] == ["", "a", "a and b", "a, b and c"]

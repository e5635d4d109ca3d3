"""Numbers as a person would say them."""

import math

import pytest

from gradscope.analysis.wording import fold, number, percent


@pytest.mark.parametrize(
    ("value", "words"),
    [(-0.0, "0"), (0.0, "0"), (math.inf, "infinity"), (-math.inf, "-infinity"), (math.nan, "an unknown number")],
)
def test_what_has_no_digits_has_a_word(value, words):
    """A loss may be any of these, and stands alone in its sentence."""
    assert number(value) == words


def test_a_share_of_minus_zero_is_zero():
    """As the change of a loss that did not change may be."""
    assert percent(-0.0) == "0 %"


def test_a_factor_too_large_for_a_number_is_said_as_such():
    """Otherwise it is the number with its unit."""
    assert (fold(12.5), fold(math.inf)) == ("12.5-fold", "more than 1e+308-fold")

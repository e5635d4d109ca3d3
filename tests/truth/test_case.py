"""A check that cannot fail would prove nothing."""

import math

import pytest

from gradscope.truth.case import Check, within
from gradscope.truth.catalogue import CASES


@pytest.mark.parametrize(
    ("check", "holds"),
    [
        (Check("", 1.0, 1.0, 0.0), True),
        (Check("", 1.0, 1.001, 0.01), True),
        (Check("", 1.0, 1.02, 0.01), False),
        (Check("", 1.0, math.nan, math.inf), False),
        (Check("", math.inf, math.inf, 0.0), True),
        (Check("", -math.inf, math.inf, 1.0), False),
        (within("", -200.0, -201.0, relative=0.01), True),
        (within("", -200.0, -203.0, relative=0.01), False),
    ],
)
def test_a_check_holds_within_its_tolerance(check, holds):
    """NaN never does."""
    assert check.holds is holds


def test_every_case_is_listed_once_in_order():
    """T1 to T17; there is no T10."""
    assert [case.code for case in CASES] == [f"T{number}" for number in range(1, 18) if number != 10]

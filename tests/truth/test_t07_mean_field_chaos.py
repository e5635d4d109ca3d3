"""T7. Source: Sompolinsky, Crisanti & Sommers 1988; Molgedey, Schuchhardt & Schuster 1992."""

from gradscope.truth.mean_field_chaos import CASE
from tests.truth.holding import assert_holds


def test_mean_field_chaos():
    """Networks of 512 tanh units have the mean-field exponent within 0.01."""
    assert_holds(CASE, checks=4)

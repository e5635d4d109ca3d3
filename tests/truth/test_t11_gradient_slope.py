"""T11. Source: Oseledets' theorem."""

from gradscope.truth.gradient_slope import CASE
from tests.truth.holding import assert_holds


def test_gradient_slope():
    """The backpropagated norm has the slope of the same network's largest exponent within 0.01."""
    assert_holds(CASE, checks=2)

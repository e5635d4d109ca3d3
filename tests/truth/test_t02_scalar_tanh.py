"""T2. Source: The fixed point, solved to 12 digits."""

from gradscope.truth.scalar_tanh import CASE
from tests.truth.holding import assert_holds


def test_scalar_tanh():
    """The exponent of x -> tanh(g x) is log g(1 - x*^2), to the six printed digits."""
    assert_holds(CASE, checks=6)

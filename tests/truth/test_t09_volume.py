"""T9. Source: Determinants multiply."""

from gradscope.truth.volume import CASE
from tests.truth.holding import assert_holds


def test_volume():
    """The sum of all exponents is the mean log |det J| of autograd's Jacobians."""
    assert_holds(CASE, checks=3)

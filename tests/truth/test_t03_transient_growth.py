"""T3. Source: Norms of the powers of a Jordan block, to three digits."""

from gradscope.truth.transient_growth import CASE
from tests.truth.holding import assert_holds


def test_transient_growth():
    """A spectral radius of 0.9 goes with a growth of 1e27."""
    assert_holds(CASE, checks=3)

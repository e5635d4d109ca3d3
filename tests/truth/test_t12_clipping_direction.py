"""T12. Source: Moments of a clipped normal variable."""

from gradscope.truth.clipping_direction import CASE
from tests.truth.holding import assert_holds


def test_clipping_direction():
    """The recorder sees the cosine that clipping a normal gradient by value or by norm has."""
    assert_holds(CASE, checks=6)

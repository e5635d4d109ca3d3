"""T13. Source: Sprott 2003, Chaos and Time-Series Analysis."""

from gradscope.truth.strange_attractors import CASE
from tests.truth.holding import assert_holds


def test_strange_attractors():
    """Henon, logistic and Lorenz have their published exponents."""
    assert_holds(CASE, checks=8)

"""T8. Source: Molgedey, Schuchhardt & Schuster 1992."""

from gradscope.truth.driven_chaos import CASE
from tests.truth.holding import assert_holds


def test_driven_chaos():
    """Input makes a random network calmer, as mean-field theory says, within 0.01."""
    assert_holds(CASE, checks=3)

"""T17. Source: Pascanu, Mikolov & Bengio 2013, arXiv:1211.5063, figure 6."""

from gradscope.truth.error_wall import CASE
from tests.truth.holding import assert_holds


def test_error_wall():
    """One sigmoid unit run 50 times has a wall in its error surface, of the closed form's height."""
    assert_holds(CASE, checks=6)

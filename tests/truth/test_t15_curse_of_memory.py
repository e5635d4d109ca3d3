"""T15. Source: Zucchet & Orvieto 2024, arXiv:2405.21064."""

from gradscope.truth.curse_of_memory import CASE
from tests.truth.holding import assert_holds


def test_curse_of_memory():
    """The sensitivity to the recurrent weight grows with the cube of the memory's length."""
    assert_holds(CASE, checks=4)

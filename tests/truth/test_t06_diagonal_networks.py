"""T6. Source: The Jacobian is diagonal."""

from gradscope.truth.diagonal_networks import CASE
from tests.truth.holding import assert_holds


def test_diagonal_networks():
    """Exponents of a minGRU are means of log(1 - z), those of a diagonal network log moduli."""
    assert_holds(CASE, checks=4)

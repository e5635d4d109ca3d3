"""T1. Source: Linear algebra."""

from gradscope.truth.linear_network import CASE
from tests.truth.holding import assert_holds


def test_linear_network():
    """The gradient of a linear network is a power of W^T to 1e-12, its exponents are log moduli of eigenvalues."""
    assert_holds(CASE, checks=9)

"""T5. Source: Tallec & Ollivier 2018, arXiv:1804.11188; Kolmogorov's distribution."""

from gradscope.truth.chrono_memory import CASE
from tests.truth.holding import assert_holds


def test_chrono_memory():
    """Chrono initialisation makes memories uniform on [2, Tmax]."""
    assert_holds(CASE, checks=4)

"""T14. Source: Geometric series; Tallec & Ollivier 2017, arXiv:1705.08209."""

from gradscope.truth.truncation import CASE
from tests.truth.holding import assert_holds


def test_truncation():
    """Truncating after K times leaves a relative bias of lambda^K; random truncation with the right weights none."""
    assert_holds(CASE, checks=7)

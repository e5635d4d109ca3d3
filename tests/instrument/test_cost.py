"""What watching is said to cost."""

import pytest

from gradscope.instrument.cost import Cost


def test_a_third_of_what_runs_beside_counts_once() -> None:
    """It counts for the next recorded iteration, however many idle ones lie between."""
    cost = Cost()
    assert cost.own_seconds(0.01, 0.0, recorded=True) == 0.01
    assert cost.own_seconds(0.001, 0.3, recorded=False) == 0.001
    assert cost.own_seconds(0.01, 0.6, recorded=True) == pytest.approx(0.01 + 0.2)
    assert cost.own_seconds(0.01, 0.6, recorded=True) == pytest.approx(0.01)


def test_the_fraction_is_of_the_training_without() -> None:
    """Two seconds of twelve were gradscope's: a fifth of the ten that were not."""
    cost = Cost()
    cost.add(12.0, 2.0, recorded=True)
    assert cost.fraction == pytest.approx(0.2)

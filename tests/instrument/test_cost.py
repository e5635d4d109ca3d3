"""What watching is said to cost."""

import pytest

from gradscope.instrument.cost import Cost


def test_half_of_what_runs_beside_counts_for_each_recorded_iteration() -> None:
    """As much as on average so far: what comes of an iteration is known only when others have passed."""
    cost = Cost()
    assert cost.add(1.0, 0.01, 0.0, 0, recorded=True) == (1.0, 0.01)
    assert cost.add(1.0, 0.001, 0.3, 0, recorded=False) == (1.0, 0.001)
    assert cost.add(1.0, 0.01, 0.6, 1, recorded=True) == pytest.approx((1.3, 0.31))
    assert cost.add(1.0, 0.01, 0.8, 2, recorded=True) == pytest.approx((1.2, 0.21))


def test_the_fraction_is_of_the_training_without() -> None:
    """Two seconds of twelve were gradscope's: a fifth of the ten that were not."""
    cost = Cost()
    cost.add(12.0, 2.0, 0.0, 0, recorded=True)
    assert cost.fraction == pytest.approx(0.2)


def test_all_that_ran_beside_is_in_the_fraction() -> None:
    """Also what came of the last recorded iteration, and of one that nothing was charged for when it ended."""
    cost = Cost()
    cost.add(5.0, 0.0, 0.0, 0, recorded=True)
    cost.add(6.0, 0.0, 2.0, 1, recorded=False)
    assert cost.fraction == pytest.approx(0.1)


def test_what_no_clock_of_ours_sees_is_the_difference_to_idle_iterations() -> None:
    """A recorded iteration took 3 s longer than an idle one and its thread 1.5 s more: half of that slows others."""
    cost = Cost()
    cost.add(10.0, 0.0, 0.0, 0, recorded=False)
    cost.add(13.0, 1.0, 1.5, 1, recorded=True)
    assert cost.fraction == pytest.approx(3.75 / (23.0 - 3.75))

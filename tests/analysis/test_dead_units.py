"""Dead units counted in states that are known."""

import numpy as np

from gradscope.analysis.dead_units import dead_units


def test_a_unit_that_is_never_on_is_dead():
    """0 at every time of every sequence of every iteration; one value above it is enough to live."""
    states = [np.zeros((7, 3, 4)) for _ in range(2)]
    states[1][6, 2, 1] = 1e-20
    states[0][:, :, 3] = 1.0
    found = dead_units(states)
    assert found.dead.tolist() == [True, False, True, False]
    assert (found.count, found.share, found.observations) == (2, 0.5, 42)


def test_times_that_do_not_exist_tell_nothing():
    """A packed sequence is NaN after its end."""
    states = np.zeros((4, 2, 3))
    states[2:, 1] = np.nan
    found = dead_units([states])
    assert (found.count, found.observations) == (3, 6)


def test_nothing_kept_is_unknown():
    """No states, or only NaN: no claim."""
    assert dead_units([]) is None
    assert dead_units([np.full((2, 2, 2), np.nan)]) is None

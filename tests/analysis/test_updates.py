"""Update-to-weight ratios of weights that move as prescribed."""

import numpy as np
import pandas as pd
import pytest

from gradscope.analysis.updates import update_ratios, weight_courses


def _table(iterations, weight, update, parameter="weight"):
    return pd.DataFrame(
        {"iteration": iterations, "parameter": parameter, "weight_norm": weight, "update_norm": update}, dtype=object
    ).astype({"weight_norm": float, "update_norm": float, "iteration": int})


def test_the_ratio_is_update_over_weight():
    """A weight of 0 has no ratio, nor has an update that is not finite."""
    found = update_ratios(_table(range(4), [2.0, 0.0, 4.0, 1.0], [0.2, 1.0, 0.2, np.inf]))
    assert found["iteration"].tolist() == [0, 2]
    assert found["ratio"].tolist() == pytest.approx([0.1, 0.05])


def test_the_course_of_a_weight():
    """Norms at both ends, their factor, and the median ratio of either half."""
    (found,) = weight_courses(_table(range(6), [1, 2, 3, 4, 5, 6], [0.1, 0.2, 0.3, 0.04, 0.05, 0.06]))
    assert (found.first_norm, found.last_norm, found.growth, found.recorded) == (1.0, 6.0, 6.0, 6)
    assert (found.start_ratio, found.ratio) == pytest.approx((0.1, 0.01))


@pytest.mark.parametrize("spacing", [1, 3, 7])
def test_the_path_counts_the_updates_that_were_not_recorded(spacing):
    """A ratio that falls on a straight line: the path over all iterations is the sum over every one of them."""
    every = np.arange(0, 43)
    ratio = 0.02 - 0.0004 * every
    (found,) = weight_courses(_table(every[::spacing], 1.0, ratio[::spacing]))
    assert found.path == pytest.approx(ratio.sum(), rel=1e-9)


def test_one_recording_is_a_course_too():
    """Its path is its one ratio."""
    (found,) = weight_courses(_table([5], [2.0], [0.1]))
    assert (found.path, found.ratio, found.recorded) == (0.05, 0.05, 1)


def test_the_path_goes_on_where_nothing_was_recorded():
    """Before the first and after the last recording an update is as large as there."""
    (found,) = weight_courses(_table([10, 11], 1.0, [0.02, 0.01]), (0, 111))
    assert found.path == pytest.approx(10 * 0.02 + 0.03 + 100 * 0.01)

"""When something began, and the course of the decay rate through training."""

import numpy as np
import pandas as pd
import pytest

from gradscope.analysis.onset import first_lasting, rates_through_training


@pytest.mark.parametrize(
    ("holds", "first"),
    [
        ([0, 0, 1, 1, 0], 4),
        ([0, 1, 0, 1, 1], 6),
        ([0, 0, 0, 0, 1], 8),
        ([1, 0, 0, 0, 0], None),
        ([0, 0, 0, 0, 0], None),
        ([1, 1, 1, 1, 1], 0),
    ],
)
def test_one_hit_may_be_chance(holds, first):
    """The first that holds at the next recorded iteration too; the last one counts by itself."""
    assert first_lasting([0, 2, 4, 6, 8], [bool(hit) for hit in holds]) == first


def test_nothing_recorded_began_nothing():
    """No iterations, no onset."""
    assert first_lasting([], []) is None


def _table(by_iteration, *, cell=np.nan):
    return pd.concat(
        pd.DataFrame(
            {
                "iteration": iteration,
                "call": 0,
                "time": np.arange(len(norms)),
                "total_gradient_norm": norms,
                "cell_gradient_norm": cell,
            }
        )
        for iteration, norms in by_iteration.items()
    )


def test_the_rate_of_each_iteration():
    """Exponential norms have the rate they were made with, in either direction of reading."""
    lags = np.arange(30.0)[::-1]
    table = _table({0: np.exp(-0.2 * lags), 5: np.exp(0.1 * lags)})
    found = rates_through_training(table, floor=1e-35)
    assert found["iteration"].tolist() == [0, 5]
    assert found["rate"].to_numpy() == pytest.approx([-0.2, 0.1])
    turned = rates_through_training(_table({0: np.exp(-0.2 * lags[::-1])}), floor=1e-35, reverse=True)
    assert turned["rate"].to_numpy() == pytest.approx([-0.2])


def test_times_after_the_loss_are_no_lags():
    """Zeros behind the loss are skipped, zeros before it end the fit."""
    norms = np.concatenate([np.zeros(5), np.exp(-0.5 * np.arange(20.0)[::-1]), np.zeros(7)])
    (row,) = rates_through_training(_table({3: norms}), floor=1e-35).itertuples()
    assert (row.rate, row.lags) == (pytest.approx(-0.5), 20)


def test_an_lstm_counts_both_parts_of_its_state():
    """Where the hidden part lets go, the cell may hold on."""
    (rate,) = rates_through_training(_table({0: np.exp(-np.arange(40.0)[::-1])}, cell=1.0), floor=1e-35)["rate"]
    assert rate > -0.05


def test_a_gradient_that_is_gone_at_once():
    """-inf where it is exactly 0 one time back, NaN where it never was."""
    one = np.zeros(10)
    one[-1] = 1.0
    assert rates_through_training(_table({0: one, 1: np.zeros(10)}), floor=0.0)["rate"].tolist()[0] == -np.inf
    assert np.isnan(rates_through_training(_table({1: np.zeros(10)}), floor=0.0)["rate"][0])

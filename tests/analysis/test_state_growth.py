"""How states grow along the sequence: laws that are known."""

import numpy as np
import pandas as pd
import pytest

from gradscope.analysis.state_growth import state_growth


def _table(norms, column="hidden_norm", iterations=4):
    rows = []
    for iteration in range(iterations):
        frame = pd.DataFrame({"iteration": iteration, "call": 0, "time": np.arange(len(norms)), column: norms})
        rows.append(frame.reindex(columns=["iteration", "call", "time", "hidden_norm", "cell_norm"]))
    return pd.concat(rows, ignore_index=True)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 3.0])
def test_a_power_of_time_is_found(power):
    """Constant, random walk, running sum, and worse."""
    found = state_growth(_table(np.arange(1.0, 61.0) ** power))
    assert found.exponent == pytest.approx(power, abs=1e-9)
    assert found.low <= found.exponent <= found.high
    assert found.factor == pytest.approx((60 / 31) ** power)
    assert (found.quantity, found.iterations) == ("hidden state", 4)


def test_exponential_growth_has_a_large_exponent():
    """A tenth more each time is about time^4.6 around time 45."""
    assert state_growth(_table(1.1 ** np.arange(60.0))).exponent == pytest.approx(4.2, abs=0.5)


def test_growth_that_goes_on_is_told_from_filling_up():
    """An exponential keeps its pace; a sum that begins in the middle is fast at first and slows down."""
    assert state_growth(_table(1.2 ** np.arange(40.0))).sustained == pytest.approx(1.0, abs=0.15)
    late = np.concatenate([np.full(20, 0.1), 0.1 + np.arange(1.0, 21.0)])
    assert state_growth(_table(late)).sustained < 0.5


def test_an_lstm_is_judged_by_its_cell():
    """Its hidden state is bounded by 1 whatever the cell does."""
    table = _table(np.arange(1.0, 41.0), "cell_norm").assign(hidden_norm=1.0)
    found = state_growth(table)
    assert (found.quantity, round(found.exponent, 9)) == ("cell", 1.0)


def test_a_reverse_layer_is_read_from_its_own_start():
    """Its state grows towards time 0."""
    table = _table(np.arange(1.0, 41.0)[::-1])
    assert state_growth(table, reverse=True).exponent == pytest.approx(1.0)
    assert state_growth(table).exponent < 0


def test_iterations_that_differ_give_a_wide_interval():
    """Student's t over the iterations; of a single one nothing is sure."""
    steady, growing = _table(np.ones(40), iterations=1), _table(np.arange(1.0, 41.0), iterations=1)
    found = state_growth(pd.concat([steady, growing.assign(iteration=1)]))
    assert found.low < 0 < 1 < found.high
    assert state_growth(steady).low == -np.inf


@pytest.mark.parametrize("norms", [np.ones(5), np.zeros(20), np.full(20, np.nan)], ids=["short", "zero", "NaN"])
def test_nothing_is_said_of_too_little(norms):
    """Short sequences, states that are 0, norms that were not recorded."""
    assert state_growth(_table(norms)) is None

"""T4. Source: Half-life ln 2 / -log sigmoid(b), to five digits."""

from gradscope.truth.lstm_cell_path import CASE
from tests.truth.holding import assert_holds


def test_lstm_cell_path():
    """An LSTM's cell keeps sigmoid(b_f) a time, and both bias vectors count together once."""
    assert_holds(CASE, checks=6)

"""The first value that is not finite is located."""

import numpy as np
import pandas as pd

from gradscope.analysis.nonfinite import nonfinite_onset


def _table(iterations=3, times=6):
    index = pd.MultiIndex.from_product([range(iterations), range(times)], names=["iteration", "time"])
    return pd.DataFrame({"hidden_norm": 1.0, "total_gradient_norm": 1.0, "nonfinite": 0}, index=index).reset_index()


def test_a_finite_run_has_no_onset():
    """Nothing to locate."""
    assert nonfinite_onset(_table()) is None


def test_a_gradient_fails_against_the_way_of_the_layer():
    """From the last bad time; in a reverse layer from the first."""
    table = _table()
    bad = (table["iteration"] >= 1) & (table["time"] <= 3)
    table.loc[bad, "nonfinite"] = 2
    table.loc[bad, "total_gradient_norm"] = np.nan
    found = nonfinite_onset(table)
    assert (found.iteration, found.tensor, found.time) == (1, "total gradient", 3)
    assert (found.sequences, found.iterations_affected, found.iterations_recorded) == (16, 2, 3)
    assert nonfinite_onset(table, reverse=True).time == 0


def test_a_state_fails_along_it_and_comes_first():
    """Where both fail the state is what failed first."""
    table = _table()
    table.loc[(table["iteration"] == 2), "nonfinite"] = 1
    table.loc[(table["iteration"] == 2) & (table["time"] >= 4), "hidden_norm"] = np.inf
    found = nonfinite_onset(table)
    assert (found.iteration, found.tensor, found.time) == (2, "hidden state", 4)

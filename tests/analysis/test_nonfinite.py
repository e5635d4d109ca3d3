"""The first value that is not finite is located."""

import numpy as np
import pandas as pd

from gradscope.analysis.nonfinite import NonfiniteOnset, has_nonfinite, nonfinite_onsets, norms_onset


def _table(iterations=3, times=6):
    index = pd.MultiIndex.from_product([range(iterations), range(times)], names=["iteration", "time"])
    columns = {"layer": "l0", "call": 0, "hidden_norm": 1.0, "total_gradient_norm": 1.0, "nonfinite": 0}
    return pd.DataFrame(columns, index=index).reset_index()


def test_a_finite_run_has_no_onset():
    """Nothing to locate."""
    assert norms_onset(_table()) is None


def test_a_gradient_fails_against_the_way_of_the_layer():
    """From the last bad time; in a reverse layer from the first."""
    table = _table()
    bad = (table["iteration"] >= 1) & (table["time"] <= 3)
    table.loc[bad, "nonfinite"] = 2
    table.loc[bad, "total_gradient_norm"] = np.nan
    found = norms_onset(table)
    assert (found.iteration, found.tensor, found.time) == (1, "total gradient", 3)
    assert has_nonfinite(table).sum() == 8
    assert norms_onset(table, reverse=True).time == 0


def test_a_state_fails_along_it_and_comes_first():
    """Where both fail the state is what failed first."""
    table = _table()
    table.loc[(table["iteration"] == 2), "nonfinite"] = 1
    table.loc[(table["iteration"] == 2) & (table["time"] >= 4), "hidden_norm"] = np.inf
    found = norms_onset(table)
    assert (found.iteration, found.tensor, found.time) == (2, "hidden state", 4)


def test_each_quantity_is_named_once_where_it_came_up_first():
    """The order of the table stays; what a row does not have is None."""
    table = pd.DataFrame(
        [
            (3, "gate", "l0", 1.0, 4.0, "forget"),
            (3, "hidden", "l0", 1.0, 4.0, None),
            (3, "hidden", "l1", 0.0, 4.0, None),
            (3, "loss", None, np.nan, np.nan, None),
            (3, "cell_gradient", "l0", 0.0, 5.0, None),
            (3, "parameter_gradient", None, np.nan, np.nan, "head.bias"),
            (4, "hidden", "l0", 0.0, 0.0, None),
            (4, "parameter_gradient", None, np.nan, np.nan, "head.weight"),
        ],
        columns=["iteration", "quantity", "layer", "call", "time", "name"],
    )
    found = nonfinite_onsets(table)
    assert found[0] == NonfiniteOnset(3, "gate", "l0", 1, 4, "forget")
    assert found[3] == NonfiniteOnset(3, "loss")
    assert [(onset.iteration, onset.place, onset.way) for onset in found] == [
        (3, "forget gate of l0 at time 4 of call 1", "forwards"),
        (3, "hidden state of l0 at time 4 of call 1", "forwards"),
        (3, "hidden state of l1 at time 4", "forwards"),
        (3, "loss", "forwards"),
        (3, "gradient of the cell state of l0 at time 5", "backwards"),
        (3, "gradient of head.bias", "backwards"),
        (4, "gradient of head.weight", "backwards"),
    ]
    assert nonfinite_onsets(table.iloc[:0]) == []

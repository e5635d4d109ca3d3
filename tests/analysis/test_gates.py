"""Gate statistics and time constants, held against gates that are known value by value."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gradscope.analysis.gates import gate_use, time_constant


def _table(values, gate="forget", *, with_log=False):
    """The rows that are recorded of gate values (time, unit)."""
    columns = {
        "iteration": 0,
        "time": np.arange(len(values)),
        "gate": gate,
        "mean": values.mean(axis=1),
        "low": (values < 0.1).mean(axis=1),
        "high": (values > 0.9).mean(axis=1),
    }
    if with_log:
        columns["log_mean"] = np.log(values).mean(axis=1)
    return pd.DataFrame(columns)


GATES = st.integers(0, 10**6).map(lambda seed: np.random.default_rng(seed).beta(2, 1, size=(20, 6)))


@given(values=GATES)
def test_the_recorded_logarithm_gives_the_geometric_constant(values):
    """-1 / mean log f over every value."""
    found = time_constant(_table(values, with_log=True), "forget")
    assert found.closeness == "geometric"
    assert found.times == pytest.approx(-1 / np.log(values).mean(), rel=1e-12)


@given(values=GATES)
def test_without_it_the_constant_is_a_bound_from_above(values):
    """Jensen: what is said is never shorter than the geometric constant."""
    found = time_constant(_table(values), "forget")
    assert found.closeness == "at most"
    assert found.times >= -1 / np.log(values).mean() - 1e-12


@pytest.mark.parametrize("bias", [0.0, 1.0, 2.0, 5.0])
def test_a_constant_gate_decays_as_the_closed_form_says(bias):
    """A cell under a forget gate sigmoid(b) halves in ln 2 / -ln sigmoid(b) times (truth T4); the bound is exact."""
    gate = 1 / (1 + math.exp(-bias))
    found = time_constant(_table(np.full((10, 4), gate)), "forget")
    half_life = {0.0: 1.0, 1.0: 2.2127, 2.0: 5.4609, 5.0: 103.218}[bias]
    assert found.times * math.log(2) == pytest.approx(half_life, rel=1e-4)
    assert found.kept(round(half_life * 10)) == pytest.approx(gate ** round(half_life * 10), rel=1e-9)


@pytest.mark.parametrize(("value", "times", "kept"), [(1.0, math.inf, 1.0), (0.0, 0.0, 0.0)])
def test_a_gate_at_its_end_keeps_all_or_nothing(value, times, kept):
    """No division by zero at either end."""
    found = time_constant(_table(np.full((5, 2), value)), "forget")
    assert (found.times, found.kept(10)) == (times, kept)


def test_a_gate_that_was_not_recorded_has_no_constant():
    """Nor has one with values that are not finite."""
    table = _table(np.full((5, 2), 0.5))
    assert time_constant(table, "update") is None
    assert time_constant(table.assign(mean=np.nan), "forget") is None


def test_the_use_of_each_gate():
    """Means over all times and iterations."""
    first, second = _table(np.array([[0.05, 0.95], [0.5, 0.5]])), _table(np.full((2, 2), 0.99), "input")
    forget, entered = gate_use(pd.concat([first, second]))
    assert (forget.gate, forget.mean, forget.low, forget.high, forget.iterations) == ("forget", 0.5, 0.25, 0.25, 1)
    assert (entered.gate, entered.high, entered.low) == ("input", 1.0, 0.0)

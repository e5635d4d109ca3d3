"""What was written comes back: values, types, order, absent things."""

import subprocess
import sys
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gradscope.errors import UsageError
from gradscope.runs import RunWriter, open_run
from gradscope.runs.layout import TABLES
from tests.planted import LAYER, exponential, flush, plant, timesteps

INTEGERS = {"iteration", "call", "time", "nonfinite"}
TEXTS = {"layer", "parameter", "gate"}


def _expected_type(column):
    return "int64" if column in INTEGERS else "str" if column in TEXTS else "float64"


@pytest.mark.parametrize("table", ["iterations", "timesteps", "parameters", "gates"])
@pytest.mark.parametrize("filled", [False, True])
def test_every_declared_column_is_there_with_its_type(tmp_path, table, filled):
    """An empty run and a full one have the same columns in the same order with the same types."""
    writer = RunWriter(tmp_path, {})
    if filled:
        row = {"iteration": [0], "layer": [LAYER], "call": [0], "time": [0], "parameter": ["w"], "gate": ["forget"]}
        writer.write({"iterations": {"iteration": [0]}, table: {n: row[n] for n in TABLES[table] if n in row}})
    frame = getattr(open_run(tmp_path), table)
    assert {name: str(kind) for name, kind in frame.dtypes.items()} == {
        name: _expected_type(name) for name in TABLES[table]
    }
    assert len(frame) == int(filled)


def test_tables_are_sorted_with_layers_in_the_models_order(tmp_path):
    """Rows written in any order come back by iteration, layer, call, time; l10 comes after l2."""
    names = [f"rnn.l{index}" for index in range(11)]
    writer = RunWriter(tmp_path, {"layers": {name: {"kind": "lstm"} for name in names}})
    rows = [(i, name, call, t) for i in (1, 0) for name in reversed(names) for call in (1, 0) for t in (2, 0, 1)]
    for some in (rows[:50], rows[50:]):
        iteration, layer, call, times = (list(column) for column in zip(*some, strict=True))
        writer.write(
            {
                "iterations": {"iteration": iteration[:1]},
                "timesteps": {"iteration": iteration, "layer": layer, "call": call, "time": times},
            }
        )
    run = open_run(tmp_path)
    expected = [(i, name, call, t) for i in (0, 1) for name in names for call in (0, 1) for t in range(3)]
    assert expected == list(run.timesteps[["iteration", "layer", "call", "time"]].itertuples(index=False, name=None))
    assert run.layers == names


def test_logged_columns_may_appear_late_and_change_their_kind(tmp_path):
    """A column absent from some parts is NaN there; text in one part makes it text in all."""
    writer = RunWriter(tmp_path, {})
    for iteration, logged in enumerate(
        [{}, {"accuracy": 1, "phase": 2}, {"accuracy": 0.5, "phase": "warm"}, {"a": None}]
    ):
        writer.write(flush(iteration, logged=logged))
    frame = open_run(tmp_path).iterations
    assert list(frame.columns) == [*TABLES["iterations"], "accuracy", "phase", "a"]
    assert frame["accuracy"].fillna(-1.0).to_list() == [-1.0, 1.0, 0.5, -1.0]
    assert frame["phase"].fillna("none").to_list() == ["none", "2", "warm", "none"]


@settings(deadline=None)
@given(norms=arrays(np.float64, st.tuples(st.integers(1, 7), st.integers(1, 5)), elements=st.floats(allow_nan=True)))
def test_norms_of_sequences_come_back_exactly(tmp_path_factory, norms):
    """Any float64, the not-finite ones among them, survives the way through the folder."""
    folder = tmp_path_factory.mktemp("run")
    with np.errstate(all="ignore"):
        RunWriter(folder, {}).write(flush(4, norms))
    np.testing.assert_array_equal(norms, open_run(folder).sequence_norms(LAYER, 4), strict=True)


def test_the_newest_call_is_taken_unless_one_is_named(tmp_path):
    """Two calls of a layer in one iteration stay apart."""
    first, second = exponential(-0.1, times=5), exponential(-0.2, times=3)
    tables = flush(0, first)
    later = timesteps(0, second, call=1)
    tables["timesteps"] = {name: [*tables["timesteps"][name], *later[name]] for name in later}
    RunWriter(tmp_path, {}).write(tables)
    run = open_run(tmp_path)
    np.testing.assert_array_equal(first, run.sequence_norms(LAYER, 0, call=0))
    np.testing.assert_array_equal(second, run.sequence_norms(LAYER, 0))


def _states_of(hidden, lengths, iteration=0):
    rows = [(s, t) for s, length in enumerate(lengths) for t in range(length)]
    return {
        "iteration": [iteration] * len(rows),
        "layer": [LAYER] * len(rows),
        "call": [0] * len(rows),
        "sequence": [s for s, _ in rows],
        "time": [t for _, t in rows],
        "hidden": [hidden[t, s] for s, t in rows],
    }


def test_states_come_back_as_time_sequence_hidden(tmp_path):
    """Kept states keep their type; where a packed sequence has ended they are NaN."""
    hidden = np.random.default_rng(0).normal(size=(4, 3, 5)).astype(np.float32)
    RunWriter(tmp_path, {}).write({"iterations": {"iteration": [0]}, "states": _states_of(hidden, [4, 2, 4])})
    hidden[2:, 1] = np.nan
    np.testing.assert_array_equal(hidden, open_run(tmp_path).states(LAYER, 0), strict=True)


def test_states_that_were_not_kept_are_answered_with_what_was(tmp_path):
    """The message names the layer and the iterations that a caller could ask for."""
    hidden = np.zeros((2, 1, 3))
    writer = RunWriter(tmp_path, {})
    for iteration in (0, 10, 20):
        writer.write({"iterations": {"iteration": [iteration]}, "states": _states_of(hidden, [2], iteration)})
    run = open_run(tmp_path)
    with pytest.raises(UsageError, match=r"hidden of layer 'rnn.l0' at iteration 5.*'rnn.l0' at iterations 0, 10, 20"):
        run.states(LAYER, 5)
    with pytest.raises(UsageError, match=r"no total_gradient .* none at all"):
        run.states(LAYER, 0, quantity="total_gradient")
    with pytest.raises(UsageError, match=r"'hidden' and 'total_gradient', got 'cell'"):
        run.states(LAYER, 0, quantity="cell")


def test_a_run_is_a_snapshot(tmp_path):
    """A run opened while it is written does not change under its reader's hands."""
    writer = RunWriter(tmp_path, {})
    writer.write(flush(0, exponential(-0.1)))
    run = open_run(tmp_path)
    writer.write(flush(1, exponential(-0.1)))
    assert list(run.iterations["iteration"]) == sorted(set(run.timesteps["iteration"])) == [0]


def test_a_run_without_layers_in_its_metadata_names_those_seen(tmp_path):
    """The list of layers falls back on the table."""
    RunWriter(tmp_path, {}).write(flush(0, exponential(-0.1), layer="encoder.l0"))
    assert open_run(tmp_path).layers == ["encoder.l0"]


def test_a_run_of_a_thousand_parts_opens_quickly(tmp_path):
    """Opening reads names and footers only; the tables follow when they are asked for."""
    writer = RunWriter(tmp_path, {})
    for iteration in range(1000):
        writer.write(flush(iteration))
    began = time.perf_counter()
    run = open_run(tmp_path)
    opened = time.perf_counter()
    assert len(run.iterations) == 1000
    read = time.perf_counter()
    assert (opened - began < 2.0, read - opened < 4.0) == (True, True)


def test_reading_imports_neither_torch_nor_pyarrows_datasets(tmp_path):
    """A laptop that only reads a run does not wait for either."""
    plant(tmp_path / "demo", lambda _: exponential(-0.1))
    script = (
        "import sys; from gradscope.runs import open_run; run = open_run(sys.argv[1]); run.timesteps;"
        "run.sequence_norms('rnn.l0', 0);"
        "print([m for m in ('torch', 'pyarrow.dataset', 'pyarrow._dataset', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script, tmp_path / "demo"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

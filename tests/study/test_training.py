"""One trial, trained and recorded."""

import pandas as pd
import pytest
import torch

from gradscope.runs import open_run
from gradscope.study.training import train_trial

# Wall time is the only thing that may differ between two runs of one trial.
TIMING = ["seconds"]


@pytest.mark.parametrize("cell", ["rnn_tanh", "lstm"])
def test_same_trial_gives_the_same_tables(make_trial, tmp_path, cell):
    """Everything recorded is equal, bit by bit, whatever torch's generator was used for in between."""
    trial = make_trial(cell=cell, initialisation="orthogonal")
    train_trial(trial, tmp_path / "first")
    torch.rand(5)
    train_trial(trial, tmp_path / "second")

    first, second = open_run(tmp_path / "first"), open_run(tmp_path / "second")
    for table in ("iterations", "timesteps", "parameters", "gates"):
        expected, actual = (getattr(run, table).drop(columns=TIMING, errors="ignore") for run in (first, second))
        pd.testing.assert_frame_equal(expected, actual, check_exact=True)
    assert len(first.timesteps) == 3 * 8  # iterations 0, 2, 4 of 6; 8 times each


def test_clipping_alone_changes_neither_the_start_nor_the_data(make_trial, tmp_path):
    """Trials that differ in clipping have the same first loss and the same first gradient; later they part."""
    losses, norms = [], []
    for clipping in ("none", "norm(0.001)", "value(0.001)"):
        # Plain SGD: Adam would undo a constant factor.
        train_trial(make_trial(clipping=clipping, optimizer="sgd", every=1), tmp_path / clipping)
        table = open_run(tmp_path / clipping).iterations
        losses.append(table["loss"].tolist())
        norms.append(table["gradient_norm"].tolist())

    assert losses[0][0] == losses[1][0] == losses[2][0]
    assert norms[0][0] == norms[1][0] == norms[2][0]
    assert len({tuple(loss) for loss in losses}) == 3


def test_clipping_is_seen_by_the_recorder(make_trial, tmp_path):
    """The clipped norm is the threshold; the direction stays under norm clipping and bends under value clipping."""
    train_trial(make_trial(clipping="norm(0.001)", every=1), tmp_path / "norm")
    train_trial(make_trial(clipping="value(0.001)", every=1), tmp_path / "value")

    by_norm, by_value = open_run(tmp_path / "norm").iterations, open_run(tmp_path / "value").iterations
    assert by_norm["clipped_gradient_norm"].tolist() == pytest.approx([0.001] * 6, rel=1e-3)
    assert by_norm["clip_cosine"].tolist() == pytest.approx([1.0] * 6, abs=1e-5)
    assert by_value["clip_cosine"].max() < 0.999


def test_outcome_and_metadata_say_what_was_trained(make_trial, tmp_path):
    """The run can be understood without the study that made it."""
    trial = make_trial(length=20, options={"length": 20}, cell="gru", initialisation="chrono")
    outcome = train_trial(trial, tmp_path / "run")

    run = open_run(tmp_path / "run")
    assert (outcome.trial, outcome.status, outcome.reason, outcome.iterations) == (trial.id, "finished", "", 6)
    assert (outcome.lag, outcome.baseline) == (15, 1 / 6)
    assert run.metadata["user"]["trial"] == trial.settings == outcome.settings
    assert run.metadata["user"]["lag"] == 15
    assert run.complete
    assert run.layers == ["recurrent.l0"]


def test_divergence_is_a_result_with_its_iteration(make_trial, tmp_path):
    """An absurd learning rate makes the loss infinite or NaN: training stops there, and the recording shows it."""
    trial = make_trial(cell="rnn_relu", optimizer="sgd", learning_rate=1e30, iterations=50)

    outcome = train_trial(trial, tmp_path / "run")

    assert outcome.status == "diverged"
    assert 1 < outcome.iterations < 50
    assert outcome.reason in {
        f"its loss became {value} at iteration {outcome.iterations - 1}" for value in ("nan", "inf")
    }
    assert len(open_run(tmp_path / "run").iterations) == outcome.iterations


def test_an_earlier_attempt_leaves_nothing_behind(make_trial, tmp_path):
    """Training into the folder of a broken attempt replaces its recordings."""
    train_trial(make_trial(iterations=20), tmp_path / "run")
    train_trial(make_trial(iterations=4), tmp_path / "run")

    assert open_run(tmp_path / "run").iterations["iteration"].tolist() == [0, 1, 2, 3]

"""One trial, trained and recorded."""

import math
from dataclasses import replace

import pandas as pd
import pytest
import torch

from gradscope.runs import open_run
from gradscope.study.comparing.evidence import read_evidence
from gradscope.study.spec.task_settings import make_task
from gradscope.study.training.outcome import write_outcome
from gradscope.study.training.training import train_trial

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
        f"its loss became {value} at iteration {outcome.iterations - 1}" for value in ("NaN", "infinite")
    }
    assert len(open_run(tmp_path / "run").iterations) == outcome.iterations


def test_an_earlier_attempt_leaves_nothing_behind(make_trial, tmp_path):
    """Training into the folder of a broken attempt replaces its recordings."""
    train_trial(make_trial(iterations=20), tmp_path / "run")
    train_trial(make_trial(iterations=4), tmp_path / "run")

    assert open_run(tmp_path / "run").iterations["iteration"].tolist() == [0, 1, 2, 3]


def test_a_falling_rate_is_half_a_cosine(make_trial, tmp_path):
    """From the rate that was asked for, through its half in the middle, towards 0; the recorder sees it."""
    train_trial(make_trial(rate_schedule="cosine", every=1), tmp_path)

    rates = open_run(tmp_path).iterations["learning_rate"]
    assert rates.tolist() == pytest.approx([0.005 * (1 + math.cos(math.pi * at / 6)) for at in range(6)])


def test_truncation_cuts_the_gradient_and_nothing_else(make_trial, tmp_path):
    """The first loss is that of the full gradient; three times are left of it, and 0 counts at all others."""
    options = {"lag": 7}
    whole = make_trial(task="recall", kind="recall", options=options, every=1)
    cut = make_trial(task="recall", kind="recall", options=options | {"truncate": 3}, every=1)
    for name, trial in (("whole", whole), ("cut", cut)):
        write_outcome(tmp_path / name, train_trial(trial, tmp_path / name))

    runs = {name: open_run(tmp_path / name) for name in ("whole", "cut")}
    assert runs["cut"].iterations["loss"][0] == runs["whole"].iterations["loss"][0]
    assert runs["cut"].iterations["loss"][5] != runs["whole"].iterations["loss"][5]
    assert runs["cut"].timesteps.groupby("iteration")["time"].count().tolist() == [3] * 6
    first = [run.timesteps.query("iteration == 0")["total_gradient_norm"].to_numpy() for run in runs.values()]
    assert first[1].tolist() == pytest.approx(first[0][-3:].tolist(), rel=1e-5)
    decay = read_evidence(tmp_path / "cut").decay("end")
    assert (decay.lags, decay.all_zero_lag) == (8, 3)


def test_a_loop_in_plain_tensors_is_watched_by_its_taps(make_trial, tmp_path):
    """Every state of every recorded iteration."""
    train_trial(make_trial(cell="rnn_by_hand"), tmp_path)

    run = open_run(tmp_path)
    assert run.layers == ["by_hand"]
    assert len(run.timesteps) == 3 * 8
    assert (run.timesteps["total_gradient_norm"] > 0).all()


def test_measures_are_taken_at_every_stop_and_kept(make_trial, tmp_path):
    """Before training and after three iterations; they change nothing in the training."""
    outcome = train_trial(make_trial(exhibits=(0, 3), measures=("states",)), tmp_path / "measured")
    train_trial(make_trial(), tmp_path / "plain")

    assert [(one["iterations"], one["kind"]) for one in outcome.exhibits] == [(0, "lines"), (3, "lines")]
    losses = [open_run(tmp_path / name).iterations["loss"].tolist() for name in ("measured", "plain")]
    assert losses[0] == losses[1]


def test_a_summed_loss_is_the_mean_times_the_answers(make_trial, tmp_path):
    """Ten answers."""
    losses = []
    for summed in (False, True):
        options = {"text": "chinese", "length": 10, "summed": summed, "order": "sequential"}
        trial = make_trial(task="writing", kind="writing", options=options)
        trial = replace(trial, data_digest=make_task("writing", options).data_digest)
        train_trial(trial, tmp_path / str(summed))
        losses.append(open_run(tmp_path / str(summed)).iterations["loss"][0])
    assert losses[1] == pytest.approx(10 * losses[0], rel=1e-6)

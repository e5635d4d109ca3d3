"""What is written: tables, clipping, updates, scaling, logged values, budgets, counts."""

import math
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence

import gradscope
from gradscope.analysis import time_constant
from tests.instrument.conftest import Forecaster
from tests.instrument.training import make_model, norm_clipping, train, value_clipping
from tests.strategies import KINDS, make_layer


def _batch(seed: int = 0, time: int = 7) -> torch.Tensor:
    return torch.randn((4, time, 3), generator=torch.Generator().manual_seed(seed))


def test_tables_agree_with_the_trajectory(tmp_path: Path) -> None:
    """The rows of the run are the norms of `recorder.latest`, column by column."""
    model = make_model("lstm")
    _, recorder = train(model, iterations=1, run=tmp_path / "run", schedule=1, keep="full")
    (trajectory,) = recorder.latest.values()
    run = gradscope.open_run(tmp_path / "run")
    rows = run.timesteps
    assert list(rows["time"]) == list(range(12))
    assert set(rows["layer"]) == {"encoder.l0"}
    for column, vectors in {
        "hidden_norm": trajectory.hidden,
        "total_gradient_norm": trajectory.total_gradient,
        "direct_gradient_norm": trajectory.direct_gradient,
        "cell_norm": trajectory.cell,
        "cell_gradient_norm": trajectory.cell_gradient,
    }.items():
        np.testing.assert_allclose(rows[column], vectors.double().norm(dim=-1).mean(1), rtol=1e-6, err_msg=column)
    np.testing.assert_allclose(rows["weight_gradient_norm"], trajectory.weight_gradient_norm)
    quantiles = np.quantile(trajectory.total_gradient.double().norm(dim=-1), (0.1, 0.9), axis=1)
    np.testing.assert_allclose(rows[["total_gradient_norm_q10", "total_gradient_norm_q90"]].T, quantiles, rtol=1e-6)
    saturated = (trajectory.cell.tanh().abs() > 0.9).double().mean((1, 2))
    np.testing.assert_allclose(rows["saturation"], saturated)
    assert list(rows["nonfinite"]) == [0] * 12
    state_gradient = torch.cat((trajectory.total_gradient, trajectory.cell_gradient), dim=-1).double().norm(dim=-1)
    np.testing.assert_allclose(run.sequence_norms("encoder.l0", 0), state_gradient, rtol=1e-6)
    np.testing.assert_array_equal(run.states("encoder.l0", 0), trajectory.hidden)
    np.testing.assert_array_equal(run.states("encoder.l0", 0, quantity="total_gradient"), trajectory.total_gradient)
    forget = run.gates[run.gates["gate"] == "forget"]
    np.testing.assert_allclose(forget["mean"], trajectory.gates["forget"].mean((1, 2)), rtol=1e-6)
    np.testing.assert_allclose(forget["low"], (trajectory.gates["forget"] < 0.1).double().mean((1, 2)))
    np.testing.assert_allclose(forget["high"], (trajectory.gates["forget"] > 0.9).double().mean((1, 2)))
    np.testing.assert_allclose(forget["log_mean"], trajectory.gates["forget"].double().log().mean((1, 2)), rtol=1e-6)
    assert run.gates.loc[run.gates["gate"] != "forget", "log_mean"].isna().all()


@pytest.mark.parametrize(("kind", "gate"), [("lstm", "forget"), ("gru", "update")])
def test_a_run_tells_how_long_a_typical_unit_keeps(tmp_path: Path, kind: str, gate: str) -> None:
    """Biases spread from -4 to 4 and no other weight: -1 / mean(log sigmoid(b)), from the geometric mean."""
    model = make_model(kind)
    bias = torch.linspace(-4, 4, 8)
    with torch.no_grad():
        for parameter in model.encoder.parameters():
            parameter.zero_()
        model.encoder.bias_ih_l0[8:16] = bias
    train(model, iterations=1, run=tmp_path / "run", schedule=1)

    found = time_constant(gradscope.open_run(tmp_path / "run").gates, gate)
    assert found.closeness == "geometric"
    assert found.times == pytest.approx(-1 / float(torch.sigmoid(bias.double()).log().mean()), rel=1e-5)


def test_norm_clipping_keeps_the_direction(tmp_path: Path) -> None:
    """The coefficient is threshold over norm, the cosine is 1, and the norm before is that of an unclipped twin."""
    train(make_model("gru"), iterations=1, run=tmp_path / "run", schedule=1, clip=norm_clipping)
    twin = make_model("gru")
    train(twin, iterations=1, watched=False, clip=None)
    expected = torch.stack([p.grad.norm() for p in twin.parameters()]).norm().item()
    row = gradscope.open_run(tmp_path / "run").iterations.iloc[0]
    assert expected > 0.1
    assert row["gradient_norm"] == pytest.approx(expected, rel=1e-6)
    assert row["clipped_gradient_norm"] == pytest.approx(0.1, rel=1e-4)
    assert row["clip_coefficient"] == pytest.approx(0.1 / expected, rel=1e-4)
    assert row["clip_cosine"] == pytest.approx(1, abs=1e-6)


def test_value_clipping_bends_the_direction(tmp_path: Path) -> None:
    """The cosine equals that of the gradient and its clamped copy, computed from an unclipped twin."""
    train(make_model("rnn_tanh"), iterations=1, run=tmp_path / "run", schedule=1, clip=value_clipping)
    twin = make_model("rnn_tanh")
    train(twin, iterations=1, watched=False, clip=None)
    gradient = torch.cat([p.grad.flatten() for p in twin.parameters()]).double()
    clipped = gradient.clamp(-0.01, 0.01)
    row = gradscope.open_run(tmp_path / "run").iterations.iloc[0]
    assert row["clip_cosine"] == pytest.approx(
        float(nn.functional.cosine_similarity(gradient, clipped, dim=0)), abs=1e-6
    )
    assert row["clip_cosine"] < 0.99
    assert row["clipped_gradient_norm"] == pytest.approx(float(clipped.norm()), rel=1e-6)


def test_no_clipping_is_a_coefficient_of_exactly_one(tmp_path: Path) -> None:
    """Without clipping nothing is reported as clipped by rounding."""
    train(make_model("lstm"), run=tmp_path / "run", schedule=1, clip=None)
    assert set(gradscope.open_run(tmp_path / "run").iterations["clip_coefficient"]) == {1.0}


def test_updates_of_the_parameters(tmp_path: Path) -> None:
    """weight_norm is that before the step and update_norm the length of the step; SGD makes it rate times gradient."""
    model = make_model("gru")
    before = {name: p.detach().norm().item() for name, p in model.named_parameters()}
    train(model, iterations=1, run=tmp_path / "run", schedule=1, optimizer=torch.optim.SGD)
    rows = gradscope.open_run(tmp_path / "run").parameters.set_index("parameter")
    assert set(rows.index) == set(before)
    for name, norm in before.items():
        assert rows.loc[name, "weight_norm"] == pytest.approx(norm, rel=1e-6)
        assert rows.loc[name, "update_norm"] == pytest.approx(0.01 * rows.loc[name, "clipped_gradient_norm"], rel=1e-3)


def test_gradients_are_reported_unscaled(tmp_path: Path) -> None:
    """Under a GradScaler every gradient is that of the loss as the user gave it."""

    def run(scale: float) -> gradscope.Run:
        model = make_model("lstm")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=scale, enabled=scale != 1)
        folder = tmp_path / str(scale)
        with gradscope.watch(model, optimizer, run=folder, schedule=1, scaler=scaler) as recorder:
            scaler.scale(model(_batch()).square().mean()).backward()
            trajectory = recorder.latest["encoder.l0"]
            scaler.unscale_(optimizer)
            norm_clipping(model)
            scaler.step(optimizer)
        opened = gradscope.open_run(folder)
        norms = trajectory.total_gradient.norm(dim=-1).mean(1)
        np.testing.assert_allclose(opened.timesteps["total_gradient_norm"], norms, rtol=1e-5)
        return opened

    plain, scaled = run(1), run(1024)
    for table in ("timesteps", "parameters", "iterations"):
        left, right = getattr(plain, table), getattr(scaled, table)
        for column in left.select_dtypes("float").columns.drop("seconds", errors="ignore"):
            np.testing.assert_allclose(right[column], left[column], rtol=1e-5, atol=1e-12, err_msg=column)
    left, right = (one.states("encoder.l0", 0, quantity="total_gradient") for one in (plain, scaled))
    np.testing.assert_allclose(right, left, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_enters_no_number(kind: str, tmp_path: Path) -> None:
    """Of a packed batch each mean and quantile is that over the sequences that have the time, each recorded alone."""
    torch.manual_seed(0)
    layer = make_layer(kind, 3, 8)
    sequences = [torch.randn(length, 3) for length in (6, 2, 4)]

    def recorded(batch: Tensor | PackedSequence, name: str) -> gradscope.Run:
        with gradscope.watch(layer, run=tmp_path / name, schedule=1) as recorder:
            output = layer(batch)[0]
            (output.data if isinstance(output, PackedSequence) else output).square().sum().backward()
            recorder.end_iteration()
        return gradscope.open_run(tmp_path / name)

    together = recorded(pack_sequence(sequences, enforce_sorted=False), "packed")
    alone = [recorded(sequence[:, None], f"alone{number}") for number, sequence in enumerate(sequences)]
    means = ["hidden_norm", "total_gradient_norm", "direct_gradient_norm", "saturation"]
    means += ["cell_norm", "cell_gradient_norm"] if kind == "lstm" else []
    single = pd.concat([run.timesteps for run in alone]).groupby("time")
    rows = together.timesteps.set_index("time")
    for column in means:
        np.testing.assert_allclose(rows[column], single[column].mean(), rtol=1e-4, atol=1e-6, err_msg=column)
    for share, column in ((0.1, "total_gradient_norm_q10"), (0.9, "total_gradient_norm_q90")):
        np.testing.assert_allclose(
            rows[column], single["total_gradient_norm"].quantile(share), rtol=1e-4, err_msg=column
        )
    gates = pd.concat([run.gates for run in alone]).groupby(["gate", "time"])
    opened = together.gates.set_index(["gate", "time"]).sort_index()
    for column in ("mean", "low", "high", "log_mean"):
        np.testing.assert_allclose(opened[column], gates[column].mean(), rtol=1e-4, atol=1e-6, err_msg=column)


def test_without_an_optimizer_the_user_ends_iterations(tmp_path: Path) -> None:
    """Training by hand: end_iteration() closes a row, with the update that happened since the backward pass."""
    model = make_model("rnn_relu")
    with gradscope.watch(model, run=tmp_path / "run", schedule=1) as recorder:
        for _ in range(2):
            model.zero_grad()
            model(_batch()).square().mean().backward()
            with torch.no_grad():
                for parameter in model.parameters():
                    parameter -= 0.5 * parameter.grad
            recorder.end_iteration()
    rows = gradscope.open_run(tmp_path / "run").parameters
    assert sorted(set(rows["iteration"])) == [0, 1]
    np.testing.assert_allclose(rows["update_norm"], 0.5 * rows["gradient_norm"], rtol=1e-4, atol=1e-7)


def test_logged_values_have_rows_on_idle_iterations_too(tmp_path: Path) -> None:
    """A loss that is logged every time is complete; gradient columns are empty where nothing was recorded."""
    losses = train(make_model("gru"), run=tmp_path / "run", schedule=gradscope.At([1]))[0][:20]
    rows = gradscope.open_run(tmp_path / "run").iterations
    np.testing.assert_array_equal(rows["loss"], [loss.item() for loss in losses])
    assert rows["gradient_norm"].notna().tolist() == [i == 1 for i in range(20)]
    assert rows["learning_rate"].tolist() == [0.01] * 20


def test_trajectories_outlive_what_comes_later() -> None:
    """A trajectory that was taken does not change when later passes reuse the memory."""
    model = make_model("lstm")
    with gradscope.watch(model, schedule=1) as recorder:
        model(_batch(0)).sum().backward()
        taken = recorder.latest["encoder.l0"]
        copy_of_it = {name: getattr(taken, name).clone() for name in ("hidden", "total_gradient", "cell")}
        model(_batch(1)).sum().backward()
    for name, values in copy_of_it.items():
        assert torch.equal(getattr(taken, name), values)


def test_states_stay_below_their_budget(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are kept of ever fewer iterations, norms go on, and the metadata says from where."""
    per_iteration = 2 * 12 * 4 * 8 * 4
    monkeypatch.setattr("gradscope.instrument.recording.state_budget.STATE_BYTES", 16 * per_iteration)
    train(make_model("gru"), iterations=12, run=tmp_path / "run", schedule=1, keep="full")
    run = gradscope.open_run(tmp_path / "run")
    assert run.iterations_with_states("encoder.l0") == [0, 1, 3, 5, 9]
    assert run.states("encoder.l0", 1).shape == (12, 4, 8)
    with pytest.raises(gradscope.UsageError):
        run.states("encoder.l0", 2)
    assert len(run.timesteps) == 12 * 12
    words = "from iteration 2 on kept of ever fewer recorded iterations, of every 4th at the end"
    assert run.metadata["dropped"]["states"].startswith(words)


def test_non_finite_values_are_counted(tmp_path: Path) -> None:
    """A NaN in one sequence of the input is counted at every time from there on, and nothing else is disturbed."""
    model = Forecaster(make_layer("rnn_tanh", 3, 8, batch_first=True))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.0)
    inputs = _batch()
    inputs[1, 4] = math.nan
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1):
        model(inputs).sum().backward()
        optimizer.step()
    rows = gradscope.open_run(tmp_path / "run").timesteps
    assert rows["nonfinite"].tolist()[4:] == [1, 1, 1]


class _Consuming(torch.optim.SGD):
    """Leaves no gradient behind, as optimisers that save memory do."""

    def step(self, closure: object = None) -> None:
        """Update, then clear."""
        super().step(closure)
        self.zero_grad()


def test_optimisers_that_consume_their_gradients(tmp_path: Path) -> None:
    """What the optimiser was given is measured before its step: afterwards it may be gone."""
    train(make_model("gru"), iterations=2, run=tmp_path / "run", schedule=1, optimizer=_Consuming)
    run = gradscope.open_run(tmp_path / "run")
    assert (run.iterations["clipped_gradient_norm"] > 0).all()
    assert (run.parameters["update_norm"] > 0).all()
    assert list(run.iterations["iteration"]) == [0, 1]


def test_a_trajectory_is_printed_in_one_line() -> None:
    """In a notebook `recorder.latest` shows shapes, not thousands of numbers."""
    model = make_model("gru")
    with gradscope.watch(model, schedule=1) as recorder:
        model(_batch()).sum().backward()
        shown = repr(recorder.latest["encoder.l0"])
    expected = "layer='encoder.l0', iteration=0, call=0, time=7, batch=4, hidden=8, gates=['reset', 'update']"
    assert shown == f"Trajectory({expected})"

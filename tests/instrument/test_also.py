"""What is recorded only if it is asked for, held against numpy and against doing the thing itself."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import gradscope
from gradscope.analysis import replay_agc, run_noise_scale
from gradscope.errors import UsageError
from gradscope.instrument.also import recurrent_radius
from gradscope.study.training.clippings import agc
from tests.instrument.training import assert_identical, make_model, train
from tests.strategies import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_the_spectral_radius_is_that_of_the_recurrent_matrix(tmp_path: Path, kind: str) -> None:
    """Of each gate's matrix by numpy, the largest; other parameters have none."""
    model = make_model(kind)
    before = model.encoder.weight_hh_l0.detach().double().numpy().reshape(-1, 8, 8).copy()
    train(model, iterations=1, run=tmp_path / "run", schedule=1, also=["spectral-radius"])

    radii = gradscope.open_run(tmp_path / "run").parameters.set_index("parameter")["spectral_radius"]
    assert radii["encoder.weight_hh_l0"] == pytest.approx(np.abs(np.linalg.eigvals(before)).max(), rel=1e-6)
    assert radii.drop("encoder.weight_hh_l0").isna().all()


def test_a_projected_state_has_no_spectral_radius() -> None:
    """Its recurrent matrix is not square."""
    layer = nn.LSTM(3, 8, proj_size=4)
    assert recurrent_radius("rnn.weight_hh_l0", layer.weight_hh_l0).isnan()
    assert recurrent_radius("weight_ih_l0", torch.eye(4)).isnan()
    assert recurrent_radius("cell.weight_hh", 2 * torch.eye(4)).item() == 2


def test_norms_of_units_are_rows(tmp_path: Path) -> None:
    """Gradients before clipping, weights before the update; a bias is one unit."""
    model = make_model("gru")
    weights = {name: value.detach().numpy().copy() for name, value in model.named_parameters()}
    gradients: dict[str, np.ndarray] = {}

    def note(model: nn.Module) -> None:
        gradients.update({name: value.grad.numpy().copy() for name, value in model.named_parameters()})
        nn.utils.clip_grad_norm_(model.parameters(), 1e-3)

    train(model, iterations=1, clip=note, run=tmp_path / "run", schedule=1, also="unit-norms")

    units = gradscope.open_run(tmp_path / "run").unit_norms
    assert set(units["parameter"]) == set(weights)
    for name, rows in units.groupby("parameter"):
        for column, values in (("gradient_norm", gradients), ("weight_norm", weights)):
            value = values[str(name)]
            wanted = np.linalg.norm(value if value.ndim > 1 else value[None], axis=1)
            np.testing.assert_allclose(rows[column], wanted, rtol=1e-5)
        assert rows["unit"].tolist() == list(range(len(rows)))


def test_adaptive_clipping_is_replayed_as_it_would_have_been(tmp_path: Path) -> None:
    """The lengths that are left agree with clipping the very gradients; a run without the norms says what to do."""
    left = []

    def clip(model: nn.Module) -> None:
        kept = [value.grad.clone() for value in model.parameters()]
        before = torch.stack([value.grad.norm() for value in model.parameters()]).norm()
        agc(0.02)(model)
        after = torch.stack([value.grad.norm() for value in model.parameters()]).norm()
        left.append(float(after / before))
        for value, gradient in zip(model.parameters(), kept, strict=True):
            value.grad.copy_(gradient)

    train(make_model("lstm"), iterations=6, clip=clip, run=tmp_path / "run", schedule=1, also=["unit-norms"])
    train(make_model("lstm"), iterations=2, run=tmp_path / "plain", schedule=1)

    found = replay_agc(gradscope.open_run(tmp_path / "run"), 0.02)
    assert found.recorded == 6
    assert found.clipped_share == np.mean(np.array(left) < 1 - 1e-6)
    assert 0 < found.unit_share < 1
    assert found.coefficient.median == pytest.approx(np.quantile(left, 0.5, method="nearest"), rel=1e-5)
    with pytest.raises(UsageError, match="unit-norms"):
        replay_agc(gradscope.open_run(tmp_path / "plain"))


def _accumulate(folder: Path, passes: int, *, divided: bool, iterations: int = 3) -> list[list[np.ndarray]]:
    """Several backward passes an update; return each one's gradient of all parameters, by autograd."""
    model = make_model("rnn_tanh")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    seen = []
    with gradscope.watch(model, optimizer, run=folder, schedule=1, also=["micro-batches"]):
        for _ in range(iterations):
            optimizer.zero_grad()
            seen.append([])
            for _ in range(passes):
                inputs = torch.randn(2, 7, 3)
                alone = torch.autograd.grad(model(inputs).square().mean(), list(model.parameters()))
                seen[-1].append(np.concatenate([part.numpy().ravel() for part in alone]))
                loss = model(inputs).square().mean()
                (loss / passes if divided else loss).backward()
            optimizer.step()
    return seen


@pytest.mark.parametrize("divided", [True, False])
def test_micro_batches_are_told_apart(tmp_path: Path, divided: bool) -> None:
    """Root mean square of their gradients; of the noise scale it does not matter whether the loss was divided."""
    seen = _accumulate(tmp_path / "run", 4, divided=divided)

    run = gradscope.open_run(tmp_path / "run")
    factor = 1 if divided else 4
    norms = [np.sqrt(np.mean([np.sum(g**2) for g in one])) for one in seen]
    assert run.iterations["micro_batches"].tolist() == [4, 4, 4]
    np.testing.assert_allclose(run.iterations["micro_gradient_norm"], factor * np.array(norms), rtol=1e-4)
    small = np.mean(np.square(norms))
    large = np.mean([np.sum(np.mean(one, axis=0) ** 2) for one in seen])
    signal, noise = (8 * large - 2 * small) / 6, (small - large) / (1 / 2 - 1 / 8)
    wanted = noise / signal if signal > 0 else np.inf
    assert run_noise_scale(run, 2) == pytest.approx(wanted, rel=1e-2)


def test_one_pass_an_update_has_no_noise_scale(tmp_path: Path) -> None:
    """Nor has a run that was not asked for it."""
    _accumulate(tmp_path / "one", 1, divided=True)
    train(make_model("gru"), iterations=2, run=tmp_path / "plain", schedule=1)

    with pytest.raises(UsageError, match="one backward pass an update"):
        run_noise_scale(gradscope.open_run(tmp_path / "one"), 2)
    with pytest.raises(UsageError, match="micro-batches"):
        run_noise_scale(gradscope.open_run(tmp_path / "plain"), 2)


def test_asking_for_everything_changes_nothing() -> None:
    """Bit-identical to the training that is not watched."""
    everything = {"schedule": 1, "also": ["spectral-radius", "unit-norms", "micro-batches"]}
    watched, _ = train(make_model("lstm"), **everything)
    unwatched, _ = train(make_model("lstm"), watched=False)
    assert_identical(watched, unwatched)


@pytest.mark.parametrize("also", ["norms", ["unit-norms", 3], 5, None])
def test_what_is_not_known_is_refused(also: object) -> None:
    """With what there is."""
    with pytest.raises(UsageError, match="also expects any of spectral-radius, unit-norms, micro-batches"):
        gradscope.watch(make_model("gru"), also=also)

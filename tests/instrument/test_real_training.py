"""What happens in real training loops: each leaves the training bit-identical, and is recorded."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gradscope
from tests.instrument.conftest import Forecaster
from tests.instrument.training import assert_identical
from tests.strategies import KINDS, make_layer

Step = Callable[[nn.Module, torch.optim.Optimizer, Tensor], None]


def _model(kind: str = "gru", **options: object) -> Forecaster:
    torch.manual_seed(0)
    return Forecaster(make_layer(kind, 3, 8, batch_first=True, **options))


def _plain(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
    optimizer.zero_grad()
    model(batch).square().mean().backward()
    optimizer.step()


def _train(model: nn.Module, step: Step, run: Path | None, iterations: int = 6) -> tuple[list[Tensor], dict]:
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    recorder = gradscope.watch(model, optimizer, run=run, schedule=1) if run else None
    torch.manual_seed(1)
    for _ in range(iterations):
        step(model, optimizer, torch.randn(4, 7, 3))
    latest = recorder.latest if recorder else {}
    if recorder:
        recorder.close()
    return [*model.state_dict().values(), torch.get_rng_state()], latest


def _assert_watched_like_bare(
    make: Callable[[], nn.Module], run: Path, layers: set[str], step: Step = _plain
) -> gradscope.runs.Run:
    expected, _ = _train(make(), step, None)
    got, latest = _train(make(), step, run)
    assert_identical(got, expected)
    assert set(latest) == layers
    assert all(trajectory.total_gradient.abs().sum() > 0 for trajectory in latest.values())
    return gradscope.open_run(run)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_norm(kind: str, tmp_path: Path) -> None:
    """A parametrized weight is made anew for each forward pass; the gradient is that of what was computed with."""

    def make() -> nn.Module:
        model = _model(kind)
        nn.utils.parametrizations.weight_norm(model.encoder, "weight_hh_l0")
        return model

    run = _assert_watched_like_bare(make, tmp_path / "run", {"encoder.l0"})
    assert len(run.iterations) == 6


class _WeightDrop(nn.Module):
    """The wrapper of AWD-LSTM: before each forward pass the recurrent weight is replaced by a dropped-out copy."""

    def __init__(self, layer: nn.RNNBase) -> None:
        super().__init__()
        self.layer = layer
        self.batch_first, self.hidden_size = True, layer.hidden_size
        self.raw = nn.Parameter(layer.weight_hh_l0.detach().clone())
        del layer._parameters["weight_hh_l0"]

    def forward(self, inputs: Tensor, state: Tensor | None = None) -> tuple[Tensor, object]:
        self.layer.weight_hh_l0 = nn.functional.dropout(self.raw, 0.5, self.training)
        return self.layer(inputs, state)


@pytest.mark.parametrize("kind", KINDS)
def test_weight_drop(kind: str, tmp_path: Path) -> None:
    """A wrapper that replaces weight_hh before each forward pass is watched with the weights it put there."""

    def make() -> nn.Module:
        torch.manual_seed(0)
        return Forecaster(_WeightDrop(make_layer(kind, 3, 8, batch_first=True)))

    _assert_watched_like_bare(make, tmp_path / "run", {"encoder.layer.l0"})


def test_one_module_under_two_names(tmp_path: Path) -> None:
    """A module that two parents share is one layer, under its first name."""

    class Shared(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.first = nn.GRU(3, 8, batch_first=True)
            self.second = self.first

        def forward(self, inputs: Tensor) -> Tensor:
            return self.first(inputs)[0][:, -1] + self.second(inputs.flip(1))[0][:, -1]

    run = _assert_watched_like_bare(Shared, tmp_path / "run", {"first.l0"})
    assert sorted(set(run.timesteps["call"])) == [0, 1]


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_activation_checkpointing(kind: str, reentrant: bool, tmp_path: Path) -> None:
    """The forward pass that checkpointing runs again is no second call."""

    class Checkpointed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            torch.manual_seed(0)
            self.lift = nn.Linear(3, 3)
            self.encoder = make_layer(kind, 3, 8, batch_first=True, num_layers=2, dropout=0.5)

        def forward(self, inputs: Tensor) -> Tensor:
            return checkpoint(self.encoder, self.lift(inputs), use_reentrant=reentrant)[0][:, -1]

    run = _assert_watched_like_bare(Checkpointed, tmp_path / "run", {"encoder.l0", "encoder.l1"})
    assert set(run.timesteps["call"]) == {0}


@pytest.mark.parametrize("kind", KINDS)
def test_autocast(kind: str, tmp_path: Path) -> None:
    """Under autocast to bfloat16 the layer computes in bfloat16; training is the same."""

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16):
            loss = model(batch).square().mean()
        loss.backward()
        optimizer.step()

    _assert_watched_like_bare(lambda: _model(kind), tmp_path / "run", {"encoder.l0"}, step)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16(kind: str, tmp_path: Path) -> None:
    """A module in bfloat16 is watched, and trains the same."""

    def step(model: nn.Module, optimizer: torch.optim.Optimizer, batch: Tensor) -> None:
        _plain(model, optimizer, batch.bfloat16())

    _assert_watched_like_bare(lambda: _model(kind).bfloat16(), tmp_path / "run", {"encoder.l0"}, step)


def test_the_scaler_skips_a_step(tmp_path: Path) -> None:
    """An overflow makes GradScaler skip the step: that iteration is one all the same, and it did not update."""
    model = _model("lstm")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8)
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1, scaler=scaler):
        for iteration in range(4):
            optimizer.zero_grad()
            batch = torch.randn(4, 7, 3) * (float("inf") if iteration == 1 else 1)
            scaler.scale(model(batch).square().mean()).backward()
            scaler.step(optimizer)
            scaler.update()
            assert copy.deepcopy(scaler).update.__self__ is not scaler
    run = gradscope.open_run(tmp_path / "run")
    assert run.iterations["iteration"].tolist() == [0, 1, 2, 3]
    updates = run.parameters.groupby("iteration")["update_norm"].sum()
    assert (updates > 0).tolist() == [True, False, True, True]
    assert run.timesteps.groupby("iteration")["nonfinite"].sum()[1] > 0
    assert "update" not in vars(scaler)


def test_an_optimizer_for_each_part(tmp_path: Path) -> None:
    """Several optimisers: the iteration ends when the last of them has stepped."""
    model = _model("gru")
    optimizers = [torch.optim.SGD(model.encoder.parameters(), lr=0.1), torch.optim.Adam(model.head.parameters())]
    with gradscope.watch(model, optimizers, run=tmp_path / "run", schedule=1):
        for _ in range(3):
            model(torch.randn(4, 7, 3)).square().mean().backward()
            for optimizer in optimizers:
                optimizer.step()
                optimizer.zero_grad()
    run = gradscope.open_run(tmp_path / "run")
    assert run.iterations["iteration"].tolist() == [0, 1, 2]
    assert len(run.parameters) == 3 * 6
    assert (run.parameters["update_norm"] > 0).all()


@pytest.mark.parametrize("kind", KINDS)
def test_a_watch_inside_a_watch_of_a_stack(kind: str) -> None:
    """Both recorders see every layer, and the training is that of none."""
    results = []
    for watches in (0, 2):
        model = _model(kind, num_layers=2, bidirectional=True, dropout=0.3)
        model.head = nn.Linear(16, 1)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        recorders = [gradscope.watch(model, optimizer, schedule=1) for _ in range(watches)]
        torch.manual_seed(1)
        for _ in range(3):
            _plain(model, optimizer, torch.randn(4, 7, 3))
        results.append([*model.state_dict().values(), torch.get_rng_state()])
        for recorder in recorders:
            assert len(recorder.latest) == 4
        if watches:
            left, right = (recorder.latest["encoder.l0_reverse"] for recorder in recorders)
            assert torch.equal(left.total_gradient, right.total_gradient)
        for recorder in recorders:
            recorder.close()
    assert_identical(*results)


def test_a_copy_made_in_a_recorded_iteration_is_plain() -> None:
    """An exponential moving average, deep-copied between forward and backward, is neither watched nor broken."""
    model = _model("lstm", num_layers=2)
    with gradscope.watch(model, schedule=1) as recorder:
        loss = model(torch.randn(4, 7, 3)).sum()
        average = copy.deepcopy(model)
        loss.backward()
        average(torch.randn(4, 7, 3)).sum().backward()
        assert set(recorder.latest) == {"encoder.l0", "encoder.l1"}
        assert recorder.latest["encoder.l0"].call == 0


def test_ctrl_c_inside_the_forward_pass_leaves_no_mode_behind() -> None:
    """A forward pass that is left by KeyboardInterrupt runs no hook; closing puts PyTorch back all the same."""
    model = _model("gru")

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = torch.overrides._get_current_function_mode_stack()
    recorder = gradscope.watch(model, schedule=1)
    handle = model.encoder.register_forward_pre_hook(interrupt)
    with pytest.raises(KeyboardInterrupt):
        model(torch.randn(4, 7, 3))
    handle.remove()
    recorder.close()
    assert torch.overrides._get_current_function_mode_stack() == before


@pytest.mark.parametrize("kind", ["gru", "lstm"])
def test_a_compiled_model(kind: str, tmp_path: Path) -> None:
    """torch.compile leaves recurrent modules to PyTorch's own kernels: they are watched as ever."""
    torch.compiler.reset()
    model = _model(kind)
    compiled = torch.compile(model, backend="eager")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(compiled, optimizer, run=tmp_path / "run", schedule=2) as recorder:
        for _ in range(4):
            _plain(compiled, optimizer, torch.randn(4, 7, 3))
        assert [name.endswith("encoder.l0") for name in recorder.latest] == [True]
    assert len(gradscope.open_run(tmp_path / "run").iterations) == 2

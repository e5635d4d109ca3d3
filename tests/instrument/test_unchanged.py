"""Trainings that say nothing of gradscope: what is noticed of them, and that nothing of them changes."""

import copy
import gc
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.modules import module as module_hooks
from torch.optim import optimizer as optimizer_hooks

import gradscope
from gradscope.errors import RunError
from gradscope.instrument.unchanged.noticing import Noticing
from gradscope.instrument.unchanged.together import Together
from tests.instrument.conftest import Forecaster
from tests.instrument.training import assert_identical, make_model, train

INIT, BACKWARD = torch.optim.Optimizer.__init__, Tensor.backward


@contextmanager
def noticing(folder: Path, begin: Callable[[Together], gradscope.Recorder] | None = None) -> Iterator[Noticing]:
    """Notice what is trained meanwhile; the n-th model's run is `folder / str(n)`."""

    def watch(together: Together) -> gradscope.Recorder:
        run = folder / str(len(noticed.recorders))
        return gradscope.watch(together.model, together.optimizers, run=run, schedule=1, scaler=together.scaler)

    with Noticing(begin or watch) as noticed:
        yield noticed
    assert not module_hooks._global_forward_pre_hooks
    assert not optimizer_hooks._global_optimizer_pre_hooks
    assert not optimizer_hooks._global_optimizer_post_hooks
    assert (torch.optim.Optimizer.__init__, Tensor.backward) == (INIT, BACKWARD)


def batch(time: int = 6) -> Tensor:
    """Four sequences of three numbers a time."""
    return torch.randn(4, time, 3)


def iterate(model: nn.Module, optimizer: torch.optim.Optimizer, count: int = 3, power: int = 2) -> list[float]:
    """Train; return the losses."""
    losses = []
    for _ in range(count):
        optimizer.zero_grad()
        loss = model(batch()).pow(power).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def sgd(*models: nn.Module) -> torch.optim.Optimizer:
    """An optimizer of all their parameters."""
    return torch.optim.SGD([each for model in models for each in model.parameters()], lr=0.01)


def opened(folder: Path, number: int = 0) -> gradscope.Run:
    """The run of the n-th model; every iteration of it has gradients of every layer."""
    run = gradscope.open_run(folder / str(number))
    seen = run.timesteps.groupby("iteration")["layer"].nunique()
    assert (seen == len(run.layers)).all()
    return run


@pytest.mark.parametrize("kind", ["rnn_tanh", "gru", "lstm"])
def test_nothing_changes_and_all_is_recorded(kind: str, tmp_path: Path) -> None:
    """Parameters, gradients, the optimizer's state and random numbers, from the first iteration on."""
    bare, _ = train(make_model(kind), watched=False)
    with noticing(tmp_path):
        noticed, _ = train(make_model(kind), watched=False)
    assert_identical(bare, noticed)
    run = opened(tmp_path)
    assert run.complete
    assert run.layers == ["encoder.l0"]
    assert run.timesteps["iteration"].unique().tolist() == list(range(20))
    assert run.iterations["loss"].tolist() == [loss.item() for loss in bare[:20]]


def test_nothing_global_is_left_in_the_loop(tmp_path: Path) -> None:
    """After the first forward pass PyTorch calls nothing of ours for a module or a step of any other."""
    model = make_model("gru")
    with noticing(tmp_path):
        optimizer = sgd(model)
        assert module_hooks._global_forward_pre_hooks
        iterate(model, optimizer, 1)
        assert not module_hooks._global_forward_pre_hooks
        assert not optimizer_hooks._global_optimizer_pre_hooks


def test_a_model_without_recurrence_is_soon_left_alone(tmp_path: Path) -> None:
    """Its calls cost nothing from the second one on."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(18, 1))
    with noticing(tmp_path) as noticed:
        iterate(model, sgd(model), 1)
        assert not module_hooks._global_forward_pre_hooks
    assert (noticed.recorders, noticed.not_watched, noticed.optimizers_made) == ([], [], 1)


def test_evaluations_before_the_training_begins(tmp_path: Path) -> None:
    """With gradients and no optimizer yet, and the other way round: neither is an iteration."""
    model = make_model("lstm")
    with noticing(tmp_path) as noticed:
        model(batch())
        optimizer = sgd(model)
        with torch.no_grad():
            model(batch())
        assert noticed.recorders == []
        iterate(model, optimizer)
    assert len(opened(tmp_path).iterations) == 3


def test_a_layer_that_is_called_by_itself(tmp_path: Path) -> None:
    """Its own call is what begins the recording, and is recorded; what else the optimizer updates belongs to it."""
    rnn, head = nn.LSTM(3, 5, batch_first=True), nn.Linear(5, 1)
    with noticing(tmp_path):
        optimizer = sgd(rnn, head)
        for _ in range(2):
            optimizer.zero_grad()
            head(rnn(batch())[0]).mean().backward()
            optimizer.step()
    run = opened(tmp_path)
    assert run.layers == ["rnn.l0"]
    assert run.timesteps["iteration"].unique().tolist() == [0, 1]
    assert {"rnn.weight_hh_l0", "head.weight"} <= set(run.parameters["parameter"])


def test_modules_inside_one_that_is_never_called(tmp_path: Path) -> None:
    """As in Lightning's loops: layers are named after the outermost module."""

    class Task(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model, self.loss = make_model("gru"), nn.MSELoss()

    task = Task()
    with noticing(tmp_path):
        optimizer = sgd(task)
        task.loss(task.model(batch()), torch.zeros(4, 1)).backward()
        optimizer.step()
    assert opened(tmp_path).layers == ["model.encoder.l0"]


def test_a_model_whose_forward_is_called_directly(tmp_path: Path) -> None:
    """What is called inside it is enough."""
    model = make_model("gru")
    with noticing(tmp_path):
        optimizer = sgd(model)
        model.forward(batch()).sum().backward()
        optimizer.step()
    assert opened(tmp_path).layers == ["encoder.l0"]


class Encoder(nn.Module):
    """Reads."""

    def __init__(self) -> None:
        super().__init__()
        self.rnn = nn.GRU(3, 5, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        """Return the last state."""
        return self.rnn(x)[1]


class Decoder(nn.Module):
    """Writes."""

    def __init__(self) -> None:
        super().__init__()
        self.cell, self.head = nn.GRUCell(1, 5), nn.Linear(5, 1)

    def forward(self, h: Tensor) -> Tensor:
        """Return three numbers."""
        h, y, written = h[0], torch.zeros(4, 1), []
        for _ in range(3):
            h = self.cell(y, h)
            written.append(y := self.head(h))
        return torch.stack(written)


@pytest.mark.parametrize("shared", [True, False])
def test_an_encoder_and_a_decoder(shared: bool, tmp_path: Path) -> None:
    """With one optimizer they are one run, under the names that the script has for them; with two they are two."""
    encoder, decoder = Encoder(), Decoder()
    losses = []
    with noticing(tmp_path) as noticed:
        optimizers = [sgd(encoder, decoder)] if shared else [sgd(encoder), sgd(decoder)]
        for _ in range(3):
            for optimizer in optimizers:
                optimizer.zero_grad()
            loss = decoder(encoder(batch())).square().mean()
            loss.backward()
            for optimizer in optimizers:
                optimizer.step()
            losses.append(loss.item())
    layers = [["encoder.rnn.l0", "decoder.cell"]] if shared else [["rnn.l0"], ["cell"]]
    assert [opened(tmp_path, number).layers for number in range(len(noticed.recorders))] == layers
    for number in range(len(layers)):
        assert opened(tmp_path, number).iterations["loss"].tolist() == losses


@pytest.mark.parametrize("together", [True, False])
def test_two_networks_that_play_against_each_other(together: bool, tmp_path: Path) -> None:
    """Each one's loss is what its own gradient comes from; inside one module they are one run."""
    torch.manual_seed(0)
    writer, judge = nn.GRU(3, 3, batch_first=True), make_model("lstm")
    both = nn.ModuleDict({"writer": writer, "judge": judge}) if together else None
    judged, written = [], []
    with noticing(tmp_path) as noticed:
        of_judge, of_writer = sgd(judge), sgd(writer)
        for _ in range(3):
            fake = writer(batch())[0]
            of_judge.zero_grad()
            real_loss, fake_loss = judge(batch()).square().mean(), judge(fake.detach()).abs().mean()
            real_loss.backward()
            fake_loss.backward()
            of_judge.step()
            judged.append((real_loss + fake_loss).item())
            of_writer.zero_grad()
            loss = judge(fake).mean()
            loss.backward()
            of_writer.step()
            written.append(loss.item())
    del both
    if together:
        assert opened(tmp_path).layers == ["writer.l0", "judge.encoder.l0"]
        assert opened(tmp_path).iterations["loss"].tolist() == written
        assert len(noticed.recorders) == 1
    else:
        assert [opened(tmp_path, number).layers for number in (0, 1)] == [["l0"], ["encoder.l0"]]
        assert opened(tmp_path, 0).iterations["loss"].tolist() == written
        assert opened(tmp_path, 1).iterations["loss"].tolist()[:3] == pytest.approx(judged)


def test_optimizers_that_are_made_anew(tmp_path: Path) -> None:
    """One an epoch: the run goes on, with each one's learning rate."""
    model = make_model("gru")
    with noticing(tmp_path) as noticed:
        for rate in (0.1, 0.01, 0.001):
            optimizer = torch.optim.Adam(model.parameters(), lr=rate)
            iterate(model, optimizer, 2)
    assert len(noticed.recorders) == 1
    assert opened(tmp_path).iterations["learning_rate"].tolist() == [0.1, 0.1, 0.01, 0.01, 0.001, 0.001]
    assert opened(tmp_path).parameters.groupby("iteration")["update_norm"].sum().gt(0).all()


@pytest.mark.parametrize("first", [0, 1])
def test_optimizers_that_take_turns(first: int, tmp_path: Path) -> None:
    """Both made at the start, over the same parameters: whichever steps ends the iteration."""
    model = make_model("gru")
    with noticing(tmp_path):
        two = [torch.optim.Adam(model.parameters(), lr=0.01), sgd(model)]
        iterate(model, two[first], 4)
        iterate(model, two[1 - first], 4)
    assert len(opened(tmp_path).iterations) == 8


def test_networks_of_one_module_that_are_trained_one_after_the_other(tmp_path: Path) -> None:
    """As an ensemble is: each one's second step shows that nobody else's is waited for."""
    models = nn.ModuleList([make_model("gru", seed=seed) for seed in range(3)])
    with noticing(tmp_path):
        optimizers = [sgd(model) for model in models]
        for model, optimizer in zip(models, optimizers, strict=True):
            iterate(model, optimizer, 4)
    run = gradscope.open_run(tmp_path / "0")
    assert run.layers == ["0.encoder.l0", "1.encoder.l0", "2.encoder.l0"]
    assert len(run.iterations) == 3 * 3


def test_a_search_over_many_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is a run; those of long ago are closed, and their models let go."""
    monkeypatch.setattr("gradscope.instrument.unchanged.noticing._MOST_OPEN", 2)
    with noticing(tmp_path) as noticed:
        for _ in range(4):
            model = nn.GRU(3, 2, batch_first=True)
            optimizer = sgd(model)
            model(batch())[0].sum().backward()
            optimizer.step()
        assert opened(tmp_path, 0).complete
        assert len(noticed._open) == 2
    assert [opened(tmp_path, seed).complete for seed in range(4)] == [True] * 4


def test_a_model_that_the_script_watches(tmp_path: Path) -> None:
    """It is left to the script, and that is said."""
    model = make_model("gru")
    with noticing(tmp_path) as noticed:
        optimizer = sgd(model)
        with gradscope.watch(model, optimizer, schedule=1):
            iterate(model, optimizer)
    assert noticed.recorders == []
    assert noticed.not_watched == ["Forecaster is left to the script, which watches it by itself"]


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda model: torch.compile(model, backend="eager")])
def test_wrappers_change_no_name(wrap: Callable[[nn.Module], nn.Module], tmp_path: Path) -> None:
    """DataParallel without GPUs, and a compiled model, from the first iteration on."""
    model = make_model("gru")
    with noticing(tmp_path), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Using `torch.compile")
        wrapped, optimizer = wrap(model), sgd(model)
        iterate(wrapped, optimizer)
    run = opened(tmp_path)
    assert (run.layers, len(run.iterations)) == (["encoder.l0"], 3)
    assert run.timesteps["iteration"].unique().tolist() == [0, 1, 2]


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")  # torch.compile's
def test_a_model_that_is_compiled_in_place(tmp_path: Path) -> None:
    """PyTorch tells of none of its calls: it is watched once there is an optimizer, from the first iteration on."""
    model = Decoder()
    with noticing(tmp_path):
        model.compile(backend="eager")
        optimizer = sgd(model)
        for _ in range(2):
            optimizer.zero_grad()
            model(torch.ones(1, 4, 5)).sum().backward()
            optimizer.step()
    run = opened(tmp_path)
    assert run.layers == ["cell"]
    assert run.timesteps["iteration"].unique().tolist() == [0, 1]


def test_a_compiled_function_that_calls_the_model(tmp_path: Path) -> None:
    """Its graph stays whole; what calls nothing that PyTorch tells of is recorded from the second iteration on."""
    model = make_model("gru")
    compiled = torch.compile(
        lambda x: model.head(x[:, 0].sum() + model.head.bias.expand(8)), backend="eager", fullgraph=True
    )
    with noticing(tmp_path) as noticed:
        optimizer = sgd(model)
        compiled(batch()).sum().backward()
        optimizer.step()
        assert len(noticed.recorders) == 1
        iterate(model, optimizer)
        assert not module_hooks._global_forward_pre_hooks
        assert not optimizer_hooks._global_optimizer_pre_hooks
    assert len(opened(tmp_path).iterations) == 3


def test_a_copy_is_found(tmp_path: Path) -> None:
    """Nothing that PyTorch calls for a new module is called for a copy; nor is one found that gc.freeze() hides."""
    model = copy.deepcopy(make_model("gru"))
    gc.freeze()
    try:
        with noticing(tmp_path):
            iterate(model, sgd(model))
    finally:
        gc.unfreeze()
    assert opened(tmp_path).layers == ["encoder.l0"]


def test_a_feature_extractor_beside_the_model(tmp_path: Path) -> None:
    """Another module made of its parts changes no name and is recorded once."""
    model = make_model("gru")
    parts = nn.Sequential(*model.children())
    with noticing(tmp_path):
        iterate(model, sgd(model))
    del parts
    assert opened(tmp_path).layers == ["encoder.l0"]


@pytest.mark.parametrize("set_to_none", [True, False])
def test_losses_that_add_up_to_one_update(set_to_none: bool, tmp_path: Path) -> None:
    """The loss of an iteration is all that its gradient is of."""
    model = make_model("gru")
    expected = []
    with noticing(tmp_path):
        optimizer = sgd(model)
        for _ in range(3):
            optimizer.zero_grad(set_to_none=set_to_none)
            losses = [model(batch()).square().mean() / 2 for _ in range(2)]
            for loss in losses:
                loss.backward()
            model(batch()).sum()  # an evaluation
            torch.ones((), requires_grad=True).backward()  # somebody else's
            optimizer.step()
            expected.append(sum(losses).item())
    assert opened(tmp_path).iterations["loss"].tolist() == pytest.approx(expected, rel=1e-6)


def test_a_scaled_loss(tmp_path: Path) -> None:
    """The only scaler that there is scaled it: losses and gradients are as if it had not."""
    model = make_model("gru")
    losses = []
    with noticing(tmp_path):
        optimizer, scaler = sgd(model), torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(3):
            optimizer.zero_grad()
            loss = model(batch()).square().mean()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            losses.append(loss.item())
    run = opened(tmp_path)
    assert run.iterations["loss"].tolist() == losses
    assert run.timesteps["direct_gradient_norm"].max() < 1


def test_what_is_no_loss(tmp_path: Path) -> None:
    """Several numbers with a gradient of their own, and torch.autograd.backward: recorded without a loss."""
    model = make_model("gru")
    with noticing(tmp_path):
        optimizer = sgd(model)
        for _ in range(2):
            predicted = model(batch())
            predicted.backward(torch.ones_like(predicted))
            torch.autograd.backward(model(batch()).sum())
            optimizer.step()
    assert opened(tmp_path).iterations["loss"].isna().all()


def test_a_closure(tmp_path: Path) -> None:
    """LBFGS differentiates several times in one step: the loss is the last one's."""
    model = make_model("gru")
    losses = []

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = model(torch.ones(4, 6, 3)).square().mean()
        loss.backward()
        losses.append(loss.item())
        return loss

    with noticing(tmp_path):
        optimizer = torch.optim.LBFGS(model.parameters(), lr=0.1, max_iter=3)
        optimizer.step(closure)
    assert len(losses) > 1
    assert gradscope.open_run(tmp_path / "0").iterations["loss"].tolist() == losses[-1:]


def test_an_error_amid_the_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, unexpected_warnings: list[str]
) -> None:
    """PyTorch goes through the hooks of steps, one of the script's among them: the training goes on all the same."""

    def fail(*_: object) -> None:
        raise ZeroDivisionError("odd")

    monkeypatch.setattr("gradscope.instrument.unchanged.turns.Turns.before_step", fail)
    model = nn.ModuleList([make_model("gru"), make_model("gru")])
    with noticing(tmp_path):
        optimizers = [sgd(each) for each in model]
        scripts_own = optimizer_hooks.register_optimizer_step_pre_hook(lambda *_: None)
        for each, optimizer in zip(model, optimizers, strict=True):
            iterate(each, optimizer)
        scripts_own.remove()
    assert [said.endswith("ZeroDivisionError: odd") for said in unexpected_warnings] == [True]
    unexpected_warnings.clear()


def test_a_module_that_is_half_made(tmp_path: Path) -> None:
    """Somewhere else in the program: it is no obstacle."""
    half = nn.Module.__new__(nn.Linear)
    model = make_model("gru")
    with noticing(tmp_path):
        iterate(model, sgd(model))
    del half
    assert len(opened(tmp_path).iterations) == 3


@pytest.mark.parametrize("error", [ZeroDivisionError("odd"), RunError("The disk is full.")])
def test_an_error_of_our_own_is_one_warning(error: Exception, tmp_path: Path, unexpected_warnings: list[str]) -> None:
    """The training goes on, bit for bit; nothing is left behind."""

    def fail(_: Together) -> gradscope.Recorder:
        raise error

    bare, _ = train(make_model("gru"), watched=False)
    with noticing(tmp_path, fail) as noticed:
        trained, _ = train(make_model("gru"), watched=False)
        assert not module_hooks._global_forward_pre_hooks
    assert_identical(bare, trained)
    assert [str(error) in said for said in unexpected_warnings] == [True]
    assert [str(error) in said for said in noticed.not_watched] == [True]
    unexpected_warnings.clear()


def test_a_script_that_fails_leaves_an_incomplete_run(tmp_path: Path) -> None:
    """All that was recorded until then is there; what the script raised comes through."""
    model = make_model("gru")
    with pytest.raises(ValueError, match="the script's"), noticing(tmp_path):
        iterate(model, sgd(model))
        raise ValueError("the script's")
    assert not opened(tmp_path).complete
    assert len(opened(tmp_path).iterations) == 3


def test_models_that_have_no_shape_yet(tmp_path: Path) -> None:
    """A lazy head gets its shape in the first call: recorded from the second on."""
    model = Forecaster(nn.GRU(3, 4, batch_first=True))
    model.head = nn.LazyLinear(1)
    with noticing(tmp_path):
        iterate(model, sgd(model))
    assert len(opened(tmp_path).iterations) == 2

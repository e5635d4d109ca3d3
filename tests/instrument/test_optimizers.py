"""Optimizers that are not as PyTorch's own."""

from pathlib import Path

import pytest
import torch

import gradscope
from tests.instrument.training import make_model


class Unlike(torch.optim.Optimizer):
    """Updates nothing, and keeps as learning rate whatever it is given."""

    def __init__(self, model: torch.nn.Module, rate: object) -> None:
        super().__init__(model.parameters(), {"lr": rate})

    def step(self, closure: object = None) -> None:
        """Do nothing."""


class Wrapper(torch.optim.Optimizer):
    """Lets another optimizer do it all, as accelerate's does: `Optimizer.__init__` is never called."""

    def __init__(self, optimizer: object) -> None:
        self.optimizer = optimizer

    def step(self, closure: object = None) -> None:
        """Hand the call on."""
        self.optimizer.step(closure)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Hand the call on."""
        self.optimizer.zero_grad(set_to_none)


def _recorded(model: torch.nn.Module, optimizer: torch.optim.Optimizer, folder: Path) -> gradscope.Run:
    with gradscope.watch(model, optimizer, run=folder, schedule=1):
        for _ in range(3):
            optimizer.zero_grad()
            model(torch.ones(2, 5, 3)).sum().backward()
            optimizer.step()
    return gradscope.open_run(folder)


@pytest.mark.parametrize("rate", [lambda: 0.1, "fast", {"start": 0.1}, torch.ones(2), torch.ones(1).to_sparse()])
def test_a_learning_rate_that_is_no_number_is_not_noted(tmp_path: Path, rate: object) -> None:
    """An optimizer may keep under that name what it likes: all is recorded but the rate."""
    model = make_model("gru")
    run = _recorded(model, Unlike(model, rate), tmp_path / "run")
    assert run.iterations["iteration"].tolist() == [0, 1, 2]
    assert run.iterations["learning_rate"].isna().all()
    assert run.complete


def test_of_a_wrapper_the_optimizer_inside_is_watched(tmp_path: Path) -> None:
    """Where a wrapper holds a wrapper too; no hook is left on any of them."""
    model = make_model("gru")
    inside = torch.optim.SGD(model.parameters(), lr=0.5)
    run = _recorded(model, Wrapper(Wrapper(inside)), tmp_path / "run")
    assert run.iterations["learning_rate"].tolist() == [0.5] * 3
    assert run.timesteps["iteration"].unique().tolist() == [0, 1, 2]
    assert not inside._optimizer_step_pre_hooks
    assert not inside._optimizer_step_post_hooks


@pytest.mark.parametrize("inside", [None, "SGD"])
def test_a_wrapper_of_nothing_that_steps_is_refused(tmp_path: Path, inside: object) -> None:
    """One message says what to pass instead, before anything is written."""
    with pytest.raises(gradscope.UsageError) as caught:
        gradscope.watch(make_model("gru"), Wrapper(inside), run=tmp_path / "run")
    assert str(caught.value) == (
        "The optimizer (Wrapper) takes no hooks, since it never called torch.optim.Optimizer.__init__. Pass the "
        "optimizer inside it that takes the steps."
    )
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("last", [0, -1])
def test_steps_inside_the_backward_pass_are_said(tmp_path: Path, last: int) -> None:
    """Once, and no more than that: weights change before all gradients are there. Training goes on."""
    model = make_model("gru")
    optimizers = [torch.optim.SGD([parameter], lr=0.1) for parameter in model.parameters()]
    for parameter, optimizer in zip(model.parameters(), optimizers, strict=True):
        parameter.register_post_accumulate_grad_hook(lambda _, optimizer=optimizer: optimizer.step())
    ordered = optimizers if last else optimizers[::-1]
    with (
        pytest.warns(UserWarning, match="an optimizer steps inside the backward pass") as caught,
        gradscope.watch(model, ordered, run=tmp_path / "run", schedule=1) as recorder,
    ):
        for _ in range(3):
            model.zero_grad()
            loss = model(torch.ones(2, 5, 3)).sum()
            recorder.log(loss=loss)
            loss.backward()
    assert len(caught) == 1
    assert len(gradscope.open_run(tmp_path / "run").iterations) == 3


def test_a_training_inside_a_backward_pass_of_another_is_recorded(tmp_path: Path) -> None:
    """Its own backward pass is over when it steps: nothing is said."""
    model = make_model("gru")
    optimizer, runs = torch.optim.SGD(model.parameters(), lr=0.1), []

    def train_inside(_: torch.Tensor) -> None:
        with torch.enable_grad():
            runs.append(_recorded(model, optimizer, tmp_path / "run"))

    outer = torch.ones(1, requires_grad=True)
    doubled = outer * 2
    doubled.register_hook(train_inside)
    doubled.backward()
    assert runs[0].timesteps["iteration"].unique().tolist() == [0, 1, 2]


@pytest.mark.parametrize("unscaled", [False, True])
@pytest.mark.parametrize("fused", [False, True])
def test_a_fused_optimizer_that_unscales_its_gradients_itself(tmp_path: Path, fused: bool, unscaled: bool) -> None:
    """Under a GradScaler it is handed scaled gradients with what to divide them by; nothing of that was clipping."""
    model = make_model("gru")
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01, fused=fused)
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    with gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1, scaler=scaler):
        for _ in range(2):
            optimizer.zero_grad()
            scaler.scale(model(torch.randn(4, 12, 3)).square().mean()).backward()
            if unscaled:
                scaler.unscale_(optimizer)
            scaler.step(optimizer)
            scaler.update()
    found = gradscope.open_run(tmp_path / "run").iterations
    assert found["clip_coefficient"].tolist() == pytest.approx([1, 1])
    assert found["clip_cosine"].tolist() == pytest.approx([1, 1])


def test_an_optimizer_that_is_made_anew(tmp_path: Path) -> None:
    """The recorder is told, and its iterations go on: they end with the steps of the new one alone."""
    model = make_model("gru")
    first = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, first, run=tmp_path / "run", schedule=1) as recorder:
        for rate in (0.1, 0.01):
            optimizer = torch.optim.SGD(model.parameters(), lr=rate)
            recorder.go_on_with(optimizer)
            for _ in range(2):
                model(torch.randn(4, 7, 3)).sum().backward()
                first.step()
                optimizer.step()
        with pytest.raises(gradscope.UsageError, match="one optimizer or more"):
            recorder.go_on_with()
    recorder.go_on_with(first)
    assert not first._optimizer_step_pre_hooks
    run = gradscope.open_run(tmp_path / "run")
    assert run.iterations["learning_rate"].tolist() == [0.1, 0.1, 0.01, 0.01]
    assert run.parameters["update_norm"].gt(0).all()


def test_a_gradient_that_comes_after_a_step_is_not_what_was_clipped(tmp_path: Path) -> None:
    """Of two adversaries the second one's loss sends a gradient back through the first, which has stepped by then."""
    first, second = make_model("gru"), torch.nn.Linear(3, 3)
    optimizers = [torch.optim.SGD(one.parameters(), lr=0.1) for one in (first, second)]
    model = torch.nn.ModuleDict({"first": first, "second": second})
    with gradscope.watch(model, optimizers, run=tmp_path / "run", schedule=1):
        for _ in range(3):
            inputs = torch.randn(2, 5, 3)
            optimizers[0].zero_grad()
            first(inputs).square().sum().backward()
            optimizers[0].step()
            optimizers[1].zero_grad()
            first(second(inputs)).sum().neg().backward()
            optimizers[1].step()
    iterations = gradscope.open_run(tmp_path / "run").iterations
    assert iterations["clip_coefficient"].tolist() == pytest.approx([1.0] * 3)
    assert iterations["clip_cosine"].tolist() == pytest.approx([1.0] * 3)

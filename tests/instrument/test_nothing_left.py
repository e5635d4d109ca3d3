"""What is left when a recorder is closed, or dropped with its model: nothing."""

import gc
import threading
import weakref
from functools import partial
from pathlib import Path

import pytest
import torch

import gradscope
from gradscope.cells import step_functions
from gradscope.instrument.skipped_steps import SkippedSteps
from tests.instrument.watched_trainings import MODELS, OwnCell, Training, own_step

_OF_MODULES = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
)
_OF_TENSORS = ("_backward_hooks", "_post_accumulate_grad_hooks")
_OF_OPTIMIZERS = ("_optimizer_step_pre_hooks", "_optimizer_step_post_hooks")


@pytest.fixture(autouse=True)
def _own_cell_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """For these tests alone."""
    monkeypatch.setattr(step_functions, "_STEP_FUNCTIONS", dict(step_functions._STEP_FUNCTIONS))
    gradscope.register_cell(OwnCell, own_step)


def _hooks(training: Training) -> int:
    """How many hooks there are on anything that belongs to a training, and modes that stand in for functions."""
    places = [(module, _OF_MODULES) for module in training.model.modules()]
    places += [(parameter, _OF_TENSORS) for parameter in training.model.parameters()]
    places.append((training.optimizer, _OF_OPTIMIZERS))
    on_objects = sum(len(getattr(thing, name, None) or ()) for thing, names in places for name in names)
    return on_objects + len(torch.overrides._get_current_function_mode_stack())


def _threads() -> int:
    return sum(thread.name.startswith("gradscope") for thread in threading.enumerate())


@pytest.mark.parametrize("kind", MODELS)
def test_hooks_are_gone_after_close(kind: str, tmp_path: Path) -> None:
    """While it watches there are hooks; afterwards as many as before, and training goes on without it."""
    training = Training(kind)
    before = _hooks(training)
    recorder = training.watch(run=tmp_path / "run")
    during = _hooks(training)
    training.iteration(recorder)
    recorder.close()
    assert during > before
    assert _hooks(training) == before
    training.iteration()


class UsersOwnError(Exception):
    """Comes up in the user's own code."""


def _raise(*_: object) -> None:
    raise UsersOwnError


@pytest.mark.parametrize("where", ["forward", "backward", "between"])
@pytest.mark.parametrize("kind", MODELS)
def test_hooks_are_gone_after_the_users_exception(kind: str, where: str) -> None:
    """Wherever the user's own exception comes up, it passes through and leaves no hook behind."""
    training = Training(kind)
    before = _hooks(training)
    with pytest.raises(UsersOwnError), training.watch() as recorder:
        training.iteration(recorder)
        if where == "forward":
            training.model.head.forward = _raise
        loss = training.model(torch.randn(4, 7, 3)).sum()
        if where == "backward":
            next(training.model.parameters()).register_hook(_raise)
            before += 1
        loss.backward()
        raise UsersOwnError
    assert _hooks(training) == before


@pytest.mark.parametrize("kind", MODELS)
def test_a_closed_recorder_does_not_keep_the_model(kind: str, tmp_path: Path) -> None:
    """Who keeps the recorder keeps what it recorded, and neither the model nor the optimiser."""
    training = Training(kind)
    with training.watch(run=tmp_path / "run") as recorder:
        training.iteration(recorder)
    parts = [weakref.ref(training.model), weakref.ref(training.optimizer)]
    parts += [weakref.ref(parameter) for parameter in training.model.parameters()]
    if hasattr(training.model, "tap"):
        del training.model.tap
    del training
    gc.collect()
    assert [part() for part in parts] == [None] * len(parts)
    assert recorder.latest


@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("kind", MODELS)
def test_a_model_that_is_dropped_is_collected(kind: str, closed: bool, tmp_path: Path) -> None:
    """With its recorder, its hooks and its calls, closed or not, and the recorder's thread ends."""
    threads = _threads()
    training = Training(kind)
    recorder = training.watch(run=tmp_path / "run")
    loss = training.iteration(recorder)
    training.model(torch.randn(4, 7, 3))  # and in the middle of an iteration
    if closed:
        recorder.close()
    left = [weakref.ref(thing) for thing in (recorder, training.model, *training.model.modules(), training.optimizer)]
    del training, recorder, loss
    gc.collect()
    assert [one() for one in left] == [None] * len(left)
    for thread in threading.enumerate():
        if thread.name.startswith("gradscope"):
            thread.join(timeout=10)
    assert _threads() <= threads
    assert len(gradscope.open_run(tmp_path / "run").iterations) == 1


def test_a_scaler_is_as_it_was() -> None:
    """The stand-in for its `update` goes too."""
    training = Training("lstm")
    scaler = torch.amp.GradScaler("cpu")
    training.watch(scaler=scaler).close()
    assert "update" not in vars(scaler)


@pytest.mark.parametrize("before", [{}, {"update": lambda: None}], ids=["the class's", "its own"])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0), (1, 0, 2), (1, 2, 0)])
def test_a_scaler_of_several_watches_is_as_it_was(order: tuple[int, ...], before: dict[str, object]) -> None:
    """In whatever order they are closed; each hears of skipped steps until it is."""
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    vars(scaler).update(before)
    skipped: list[int] = []
    watches = [SkippedSteps(scaler, partial(skipped.append, number)) for number in range(3)]
    for place, closed in enumerate(order):
        skipped.clear()
        scaler.update()
        assert sorted(skipped) == sorted(order[place:])
        watches[closed].remove()
    assert {name: held for name, held in vars(scaler).items() if name == "update"} == before


@pytest.mark.parametrize("ended", ["by close", "by step"])
@pytest.mark.parametrize("kind", MODELS)
def test_a_loss_that_is_kept_keeps_no_recorder(kind: str, ended: str) -> None:
    """A graph whose hooks were of a recorder does not keep it, nor the rest of the model."""
    training = Training(kind)
    recorder = training.watch()
    loss = training.model(torch.randn(4, 7, 3)).sum()
    if ended == "by close":
        recorder.close()
    else:
        loss.backward(retain_graph=True)
        training.optimizer.step()
    training.model.tap = None
    left = [weakref.ref(recorder), weakref.ref(training.model), weakref.ref(training.optimizer)]
    del training, recorder
    gc.collect()
    assert [one() for one in left] == [None] * 3
    if ended == "by close":
        loss.backward()

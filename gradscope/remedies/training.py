"""One short training under one remedy, watched."""

import inspect
import math
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from gradscope.errors import RunError, UsageError
from gradscope.instrument import Every, Recorder, watch
from gradscope.instrument.layers import find_sources, nothing_recurrent
from gradscope.remedies.acting import Acting
from gradscope.remedies.batches import SeenBatches
from gradscope.remedies.measured import Measured, measure
from gradscope.remedies.remedy import Impossible, Remedy
from gradscope.remedies.seeds import generators_put_back, seed_everything
from gradscope.runs import open_run

TrainFunction = Callable[[Any], Iterable[Any]]
"""The user's training loop as a generator: takes the model, yields the loss after each update."""

_RECORDED = 32
"""How many iterations of a training are recorded, at most about twice as many."""


@dataclass(frozen=True)
class Plan:
    """What all trainings share.

    Attributes:
        train: the user's training loop.
        factory: makes the user's model.
        iterations: how many at most.
        lag: how far back the task looks, where that is known.
    """

    train: TrainFunction
    factory: Callable[[], nn.Module]
    iterations: int
    lag: int | None


@dataclass(frozen=True)
class Training:
    """What came of one.

    Attributes:
        losses: of every iteration.
        batches: digest of what the model was given in each.
        measured: of each recurrent layer, in the model's order.
        seconds: that it took.
    """

    losses: list[float]
    batches: list[str]
    measured: list[Measured]
    seconds: float

    @property
    def diverged(self) -> bool:
        """Whether its loss ended as no number."""
        return not math.isfinite(self.losses[-1])


def train_once(plan: Plan, remedy: Remedy, seed: int) -> Training:
    """Train a fresh model under a remedy.

    Weights and batches follow from the seed alone: random numbers that the remedy draws are not taken from theirs.

    Args:
        plan: what all trainings share.
        remedy: what is tried.
        seed: of the model, and of the batches.

    Returns:
        What came of it.

    Raises:
        Impossible: the remedy does not fit the model or its training.
        UsageError: the user's functions are not of the expected form.
        RunError: it could not be recorded.
    """
    began = time.perf_counter()
    with generators_put_back(), tempfile.TemporaryDirectory(prefix="gradscope-") as folder:
        seed_everything(seed)
        model = _model(plan.factory)
        remedy.prepare(model, plan.lag)
        seed_everything(seed)
        acting, seen = Acting(remedy, model, plan.iterations), SeenBatches(model)
        schedule = Every(max(1, plan.iterations // _RECORDED))
        with warnings.catch_warnings(record=True) as said, acting, seen:
            warnings.simplefilter("always")
            with watch(model, run=Path(folder) / "run", schedule=schedule, keep="norms") as recorder:
                losses = list(_losses(plan, model, acting, seen, recorder))
        _say_again(said)
        if not losses:
            raise UsageError("train_function yielded no loss: it ended before its first `yield loss`.")
        if remedy.needs_optimizer and not acting.acted:
            raise Impossible("the training updates the model without a torch.optim.Optimizer, in whose step it acts")
        measured = measure(open_run(Path(folder) / "run"), plan.lag, remedy.reach)
    return Training(losses, seen.digests, measured, time.perf_counter() - began)


def _model(factory: Callable[[], nn.Module]) -> nn.Module:
    model = factory()
    if not isinstance(model, nn.Module):
        raise UsageError(
            f"model_factory expects to return a torch.nn.Module, got a {type(model).__name__}: pass a function without "
            "arguments that makes a fresh model, such as the model's class or lambda: Model(hidden=64)."
        )
    if not find_sources(model):
        raise UsageError(nothing_recurrent(model))
    return model


def _losses(plan: Plan, model: nn.Module, acting: Acting, seen: SeenBatches, recorder: Recorder) -> Iterator[float]:
    steps = _steps(plan.train, model)
    try:
        for iteration in range(plan.iterations):
            acting.iteration = iteration
            try:
                loss = _number(next(steps))
            except StopIteration:
                return
            recorder.log(loss=loss)
            recorder.end_iteration()
            seen.end_iteration()
            yield loss
            if not math.isfinite(loss):
                return
    finally:
        if inspect.isgenerator(steps):
            steps.close()


def _steps(train: TrainFunction, model: nn.Module) -> Iterator[Any]:
    steps = train(model)
    if isinstance(steps, Iterator):
        return steps
    got = "None" if steps is None else f"a {type(steps).__name__}"
    raise UsageError(
        f"train_function expects to be a generator that yields the loss of each iteration, and it returned {got}: "
        "write `yield loss` after optimizer.step() in its loop."
    )


def _number(loss: object) -> float:
    if isinstance(loss, Tensor) and loss.numel() == 1:
        return float(loss.detach())
    if isinstance(loss, float | int) and not isinstance(loss, bool):
        return float(loss)
    got = f"a tensor of shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
    raise UsageError(f"train_function expects to yield the loss, one number an iteration, got {got}.")


def _say_again(said: list[warnings.WarningMessage]) -> None:
    """Warn of what the training warned of.

    Raises:
        RunError: it was gradscope, which could not record.
    """
    for warning in said:
        if str(warning.message).startswith("gradscope stopped"):
            raise RunError(str(warning.message))
        warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)

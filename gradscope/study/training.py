"""Training of one trial, watched. Runs inside a worker process, or in this one."""

import math
import time
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from gradscope.errors import RunError, UsageError
from gradscope.instrument import Every, Recorder, watch
from gradscope.study.choice import parse_choice
from gradscope.study.network import build_network
from gradscope.study.outcome import Outcome
from gradscope.study.trial import Trial
from gradscope.tasks import Adding, Characters, Task, digest_text, read_text

_OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
}


class _Training(NamedTuple):
    """How far a training came."""

    iterations: int
    reason: str


def train_trial(trial: Trial, folder: Path) -> Outcome:
    """Train, recording into `folder`; an earlier attempt's recordings there are replaced.

    The weights follow from torch's generator and the data from one of numpy's, both from the trial's seed: trials that
    differ in their clipping only start from the same weights and see the same batches.

    Args:
        trial: what to train.
        folder: the trial's run folder.

    Returns:
        How it ended, finished or diverged. It is for the caller to keep it, and to turn an exception into a failure.

    Raises:
        RunError: it could not be recorded.
    """
    task = _task(trial)
    network = build_network(trial, task)
    optimizer = _OPTIMIZERS[trial.optimizer](network.parameters(), lr=trial.learning_rate)  # type: ignore[call-arg]
    metadata = {
        "trial": trial.settings,
        "lag": task.lag,
        "baseline": task.baseline,
        "baseline_meaning": task.baseline_meaning,
    }
    began = time.perf_counter()
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        with watch(
            network,
            optimizer,
            run=folder,
            schedule=Every(trial.every),
            keep="norms",
            metadata=metadata,
            overwrite=True,
        ) as recorder:
            ended = _train(trial, task, network, optimizer, recorder)
    # A recorder that fails warns and lets training go on; a trial without its recordings is worth nothing.
    for warning in said:
        if str(warning.message).startswith("gradscope"):
            raise RunError(str(warning.message))
    return Outcome(
        trial=trial.id,
        settings=trial.settings,
        status="diverged" if ended.reason else "finished",
        reason=ended.reason,
        iterations=ended.iterations,
        seconds=round(time.perf_counter() - began, 3),
        lag=task.lag,
        baseline=task.baseline,
        baseline_meaning=task.baseline_meaning,
    )


def _train(
    trial: Trial, task: Task, network: nn.Module, optimizer: torch.optim.Optimizer, recorder: Recorder
) -> _Training:
    rng = np.random.default_rng(trial.seed)
    criterion = nn.MSELoss() if task.kind == "regression" else nn.CrossEntropyLoss()
    clip = _clipping(trial.clipping)
    for iteration in range(trial.iterations):
        batch = task.batch(rng, trial.batch)
        optimizer.zero_grad()
        loss: Tensor = criterion(network(torch.from_numpy(batch.inputs)), torch.from_numpy(batch.targets))
        loss.backward()  # type: ignore[no-untyped-call]
        clip(network)
        recorder.log(loss=loss)
        optimizer.step()
        # Only now, so that the iteration that went wrong is recorded too.
        if not math.isfinite(loss.item()):
            return _Training(iteration + 1, f"its loss became {loss.item()} at iteration {iteration}")
    return _Training(trial.iterations, "")


def _task(trial: Trial) -> Task:
    if trial.task == "adding":
        return Adding(trial.length, trial.lag)
    return _characters(trial.text_path, trial.text_digest, trial.length, trial.lag)


@lru_cache(maxsize=2)
def _characters(path: str, digest: str, length: int, lag: int | None) -> Characters:
    """Return the task; a text is encoded once a worker, not once a trial.

    Raises:
        UsageError: the text is not the one that the study began with.
    """
    text = read_text(path)
    if digest_text(text) != digest:
        raise UsageError(f"the text {path or 'that comes with Python'} changed while the study ran: start it again")
    return Characters(length, lag, text)


def _clipping(text: str) -> Callable[[nn.Module], object]:
    name, limit = parse_choice(text)
    if limit is None:
        return lambda _: None
    if name == "norm":
        return lambda network: nn.utils.clip_grad_norm_(network.parameters(), limit)
    return lambda network: nn.utils.clip_grad_value_(network.parameters(), limit)

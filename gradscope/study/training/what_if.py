"""The models of a study as subjects of `what_if`: each task and cell, as the study first names them."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from gradscope.remedies.comparing import Trials
from gradscope.remedies.trial import try_remedies
from gradscope.study.spec.dotted import find_modules_in, import_modules
from gradscope.study.spec.task_settings import make_task
from gradscope.study.spec.trial import Trial
from gradscope.study.training.network import Network, build_network
from gradscope.study.training.task_loss import task_loss
from gradscope.study.training.training import OPTIMIZERS
from gradscope.tasks import Task

_LEAST_SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class StudyModel:
    """One task and cell.

    Attributes:
        name: both, in words.
        trial: how it is trained: the study's first trial of it, whatever its seed.
        seeds: of all its trials; three where the study has less than two.
    """

    name: str
    trial: Trial
    seeds: tuple[int, ...]


def study_models(trials: Sequence[Trial]) -> list[StudyModel]:
    """Return the models of a study.

    Args:
        trials: of the study, or of the part that is asked for.

    Returns:
        One for each task and cell, in their order. How it is initialised and clipped is what its first trial says.
    """
    found: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        found.setdefault((trial.task, trial.cell), []).append(trial)
    models = []
    for (task, cell), same in found.items():
        seeds = tuple(dict.fromkeys(trial.seed for trial in same))
        models.append(StudyModel(f"{task}, {cell}", same[0], seeds if len(seeds) > 1 else _LEAST_SEEDS))
    return models


def try_on(model: StudyModel, remedies: Sequence[str] | None, said: Callable[[str], object]) -> Trials:
    """Try remedies on one of them.

    Args:
        model: which.
        remedies: what to try; None for the usual ones.
        said: told what is being trained.

    Returns:
        What came of it.
    """
    find_modules_in(model.trial.folder)
    import_modules(model.trial.modules)
    task = make_task(model.trial.kind, model.trial.options)
    return try_remedies(
        partial(_train, trial=model.trial, task=task),
        partial(_network, model.trial, task),
        remedies,
        iterations=model.trial.iterations,
        seeds=model.seeds,
        lag=task.lag,
        said=said,
    )


def _network(trial: Trial, task: Task) -> Network:
    # `build_network` seeds torch by itself: with the seed of this very training.
    return build_network(replace(trial, seed=torch.initial_seed()), task)


def _train(network: nn.Module, *, trial: Trial, task: Task) -> Iterator[Tensor]:
    """Train as a study does, unclipped and at a constant rate: those are remedies here.

    Yields:
        The loss of each iteration.
    """
    optimizer = OPTIMIZERS[trial.optimizer](network.parameters(), lr=trial.learning_rate)  # type: ignore[call-arg]
    batches = task.batches(np.random.default_rng(torch.initial_seed()), trial.batch)
    state: Any = None
    for batch, begins in batches:
        optimizer.zero_grad()
        answers, after = network(
            torch.from_numpy(batch.inputs), task.answered, None if begins else state, task.truncate
        )
        if task.carries_state:
            state = tuple(part.detach() for part in after) if isinstance(after, tuple) else after.detach()
        loss = task_loss(answers, batch, task)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        yield loss

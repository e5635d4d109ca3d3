"""Training of one trial, watched. Runs inside a worker process, or in this one."""

import math
import time
import warnings
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from gradscope.cells.by_hand import Tapped
from gradscope.errors import RunError, UsageError
from gradscope.instrument import Every, Recorder, watch
from gradscope.runs.places import Place
from gradscope.study.choice import parse_choices
from gradscope.study.clipping_table import CLIPPING_TABLE
from gradscope.study.dotted import find_modules_in, import_modules, is_dotted, resolve
from gradscope.study.measure_table import MEASURE_TABLE
from gradscope.study.network import Network, build_network
from gradscope.study.outcome import Outcome
from gradscope.study.task_loss import task_loss
from gradscope.study.task_settings import make_task
from gradscope.study.trial import Trial
from gradscope.tasks import Task
from gradscope.tasks.shown import as_json
from gradscope.tasks.task import Answer

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


class _Training(NamedTuple):
    """How far a training came, and what it showed on the way."""

    iterations: int
    reason: str
    exhibits: list[dict[str, Any]]


def train_trial(trial: Trial, folder: Place) -> Outcome:
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
    find_modules_in(trial.folder)
    import_modules(trial.modules)
    task = _task(trial)
    network = build_network(trial, task)
    optimizer = OPTIMIZERS[trial.optimizer](network.parameters(), lr=trial.learning_rate)  # type: ignore[call-arg]
    metadata = {
        "trial": trial.settings,
        "lag": task.lag or None,
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
            _connect_taps(network, recorder)
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
        solved=None if math.isnan(task.solved) else task.solved,
        score_name=task.score_name,
        parameters=sum(parameter.numel() for parameter in network.recurrent.parameters()),
        exhibits=ended.exhibits,
    )


def _train(
    trial: Trial, task: Task, network: Network, optimizer: torch.optim.Optimizer, recorder: Recorder
) -> _Training:
    batches = task.batches(np.random.default_rng(trial.seed), trial.batch)
    clips = _clippings(trial.clipping, network)
    answer, score_every = _answers(network), task.score_every(trial.batch)
    exhibits: list[dict[str, Any]] = _shown(trial, task, network, None, 0) if 0 in trial.exhibits else []
    state: Any = None
    for iteration in range(trial.iterations):
        batch, begins = next(batches)
        optimizer.zero_grad()
        given = None if begins else state
        answers, after = network(torch.from_numpy(batch.inputs), task.answered, given, task.truncate)
        state = _detached(after) if task.carries_state else None
        loss = task_loss(answers, batch, task)
        loss.backward()  # type: ignore[no-untyped-call]
        for clip in clips:
            clip(network)
        recorder.log(loss=loss)
        if score_every and (iteration + 1) % score_every == 0:
            recorder.log(score=task.score(answer))
        _set_rate(optimizer, trial, iteration)
        optimizer.step()
        # Only now, so that the iteration that went wrong is recorded too.
        if not math.isfinite(loss.item()):
            return _Training(iteration + 1, f"its loss became {loss.item()} at iteration {iteration}", exhibits)
        if iteration + 1 in trial.exhibits:
            exhibits += _shown(trial, task, network, state, iteration + 1)
    return _Training(trial.iterations, "", exhibits)


def _detached(state: Any) -> Any:  # noqa: ANN401 - whatever the recurrence carries
    return tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()


def _answers(network: Network) -> Answer:
    """Return the network as a task sees it: numpy in, numpy out, nothing recorded."""

    def answer(inputs: Float[np.ndarray, "time batch input"], state: Any) -> tuple[Any, Any]:  # noqa: ANN401
        with torch.no_grad():
            outputs, after = network(torch.from_numpy(inputs), len(inputs), state)
        return outputs.numpy(), after

    return answer


def _shown(
    trial: Trial,
    task: Task,
    network: Network,
    state: Any,  # noqa: ANN401 - whatever the recurrence carries
    iterations: int,
) -> list[dict[str, Any]]:
    """Return what the task shows of the network, and what is measured of it, as JSON can say it."""
    shown = list(task.exhibits(_answers(network), state))
    for name in trial.measures:
        measure = resolve(name if is_dotted(name) else MEASURE_TABLE[name].make)
        shown += measure(network, task, trial)
    return [{"iterations": iterations} | as_json(one) for one in shown]


def _connect_taps(network: Network, recorder: Recorder) -> None:
    """Give the recorder's tap to the parts of the network that call one: loops written out in plain tensors."""
    for part in network.modules():
        if isinstance(part, Tapped):
            part.tap = recorder.tap


def _set_rate(optimizer: torch.optim.Optimizer, trial: Trial, iteration: int) -> None:
    """Set the learning rate of an iteration: constant, or down to 0 along half a cosine."""
    if trial.rate_schedule == "cosine":
        factor = 0.5 + 0.5 * math.cos(math.pi * iteration / trial.iterations)
        for group in optimizer.param_groups:
            group["lr"] = factor * trial.learning_rate


def _task(trial: Trial) -> Task:
    """Return the trial's task.

    Raises:
        UsageError: its data are not those that the study began with.
    """
    task = make_task(trial.kind, trial.options)
    if task.data_digest != trial.data_digest:
        raise UsageError(f"the data of {trial.task} changed while the study ran: start it again")
    return task


def _clippings(text: str, network: Network) -> list[Any]:
    """Return what acts on the gradient after each backward pass: functions of the network."""
    clips = []
    for name, number in parse_choices(text):
        clip = resolve(name if is_dotted(name) else CLIPPING_TABLE[name].make)(number)
        if hasattr(clip, "attach"):
            clip.attach(network)
        clips.append(clip)
    return clips

"""Training of one trial, watched. Runs inside a worker process, or in this one."""

import contextlib
import math
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.cells.by_hand import Tapped
from gradscope.errors import RunError, UsageError
from gradscope.instrument import Every, Recorder, watch
from gradscope.runs.places import Place
from gradscope.study.spec.choice import parse_choices
from gradscope.study.spec.clipping_table import CLIPPING_TABLE
from gradscope.study.spec.dotted import find_modules_in, import_modules, is_dotted, resolve
from gradscope.study.spec.measure_table import MEASURE_TABLE
from gradscope.study.spec.task_settings import digest_of_data, make_task
from gradscope.study.spec.trial import Trial
from gradscope.study.training.network import Network, build_network
from gradscope.study.training.outcome import Outcome
from gradscope.study.training.task_loss import task_loss
from gradscope.tasks import Task
from gradscope.tasks.shown import as_json
from gradscope.tasks.task import Answer, Batch

OPTIMIZERS: dict[str, type[torch.optim.Optimizer]] = {
    "adam": torch.optim.Adam,
    "sgd": torch.optim.SGD,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}


class Training:
    """A trial in training, one iteration after the other: `draw`, then `learn`, then `update` with the loss of that.

    Attributes:
        trial: what is trained.
        task: that it learns.
        network: that learns it.
        recorder: that watches.
        batch: what was drawn last.
    """

    def __init__(
        self, trial: Trial, task: Task, network: Network, optimizer: torch.optim.Optimizer, recorder: Recorder
    ) -> None:
        self.trial, self.task, self.network, self.recorder = trial, task, network, recorder
        self.batch: Batch
        self._optimizer = optimizer
        self._batches = task.batches(np.random.default_rng(trial.seed), trial.batch)
        self._clips = _clippings(trial.clipping, network)
        self._answer, self._score_every = _answers(network), task.score_every(trial.batch)
        self._state: Any = None
        self._iteration, self._reason = 0, ""
        self._exhibits: list[dict[str, Any]] = []
        self._show()

    @property
    def recorded(self) -> bool:
        """Whether this iteration is."""
        return _schedule(self.trial).wants(self._iteration)

    @property
    def ended(self) -> bool:
        """Whether nothing is left to do: all iterations are over, or the loss is no number any more."""
        return bool(self._reason) or self._iteration == self.trial.iterations

    def draw(self) -> None:
        """Begin an iteration: draw its batch, and forget the gradients of the last one."""
        self.batch, begins = next(self._batches)
        self._state = None if begins else self._state
        self._optimizer.zero_grad()

    def learn(self) -> Tensor:
        """Go forward and back.

        Returns:
            The loss; its gradients are with the parameters.
        """
        inputs = torch.from_numpy(self.batch.inputs)
        answers, after = self.network(inputs, self.task.answered, self._state, self.task.truncate)
        self._state = _detached(after) if self.task.carries_state else None
        loss = task_loss(answers, self.batch, self.task)
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def update(self, loss: Tensor) -> None:
        """End the iteration: clip the gradients, take a step, log.

        Args:
            loss: of its batch, whose gradients are with the parameters.
        """
        iteration = self._iteration
        for clip in self._clips:
            clip(self.network)
        self.recorder.log(loss=loss)
        if self._score_every and (iteration + 1) % self._score_every == 0:
            self.recorder.log(score=self.task.score(self._answer))
        _set_rate(self._optimizer, self.trial, iteration)
        self._optimizer.step()
        self._iteration += 1
        # Only now, so that the iteration that went wrong is recorded too.
        if not math.isfinite(loss.item()):
            what = "NaN" if math.isnan(loss.item()) else "infinite"
            self._reason = f"its loss became {what} at iteration {iteration}"
        else:
            self._show()

    def outcome(self, seconds: float, together: int = 1) -> Outcome:
        """Return how it ended.

        Args:
            seconds: that it took.
            together: how many trials were trained as one program, it among them.
        """
        task = self.task
        return Outcome(
            trial=self.trial.id,
            settings=self.trial.settings,
            status="diverged" if self._reason else "finished",
            reason=self._reason,
            iterations=self._iteration,
            seconds=round(seconds, 3),
            together=together,
            lag=task.lag,
            baseline=task.baseline,
            baseline_meaning=task.baseline_meaning,
            solved=None if math.isnan(task.solved) else task.solved,
            score_name=task.score_name,
            parameters=sum(parameter.numel() for parameter in self.network.recurrent.parameters()),
            exhibits=self._exhibits,
        )

    def _show(self) -> None:
        if self._iteration in self.trial.exhibits:
            self._exhibits += _shown(self.trial, self.task, self.network, self._state, self._iteration)


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
    began = time.perf_counter()
    with complaints_raised(), begun(trial, folder) as training:
        while not training.ended:
            training.draw()
            training.update(training.learn())
    return training.outcome(time.perf_counter() - began)


@contextlib.contextmanager
def begun(trial: Trial, folder: Place) -> Iterator[Training]:
    """Make what is trained, and watch it; an earlier attempt's recordings in `folder` are replaced.

    Yields:
        The training, before its first iteration; watched until the context ends.

    Raises:
        UsageError: its data are not those that the study began with.
        RunError: the folder cannot be written.
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
    with watch(
        network,
        optimizer,
        run=folder,
        schedule=_schedule(trial),
        keep="norms",
        metadata=metadata,
        overwrite=True,
    ) as recorder:
        _connect_taps(network, recorder)
        yield Training(trial, task, network, optimizer, recorder)


@contextlib.contextmanager
def complaints_raised() -> Iterator[Callable[[], None]]:
    """Raise what a recorder complained of: it warns and lets training go on, but a trial without it is worth nothing.

    Yields:
        What raises already what has been said so far.

    Raises:
        RunError: at the end, if anything was said.
    """
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")

        def check() -> None:
            for warning in said:
                if str(warning.message).startswith("gradscope"):
                    raise RunError(str(warning.message))

        yield check
    check()


def _schedule(trial: Trial) -> Every:
    return Every(trial.every)


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
    if digest_of_data(trial.kind, trial.options) != trial.data_digest:
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

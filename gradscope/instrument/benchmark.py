"""What watching costs on this machine: watched trainings against bare ones, interleaved in one process."""

import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch
from torch import Tensor, nn

from gradscope.instrument.recorder import Recorder
from gradscope.instrument.schedules import At, Every, Schedule
from gradscope.instrument.watching import watch

CELLS: dict[str, Callable[[int, int], nn.RNNBase]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}
_NEVER = At(())


@dataclass(frozen=True)
class Size:
    """Length of the sequence, sequences a batch, hidden units; there are as many inputs as hidden units."""

    time: int
    batch: int
    hidden: int

    def __str__(self) -> str:
        return f"T{self.time} N{self.batch} H{self.hidden}"


SIZES = (Size(100, 16, 64), Size(100, 32, 128), Size(50, 64, 256))


@dataclass(frozen=True)
class Length:
    """Of a measurement.

    Attributes:
        repetitions: how many pairs of a recorded and a bare iteration are timed, and of an idle and a bare one.
        iterations: length of the training under the default schedule, in turns with a bare one.
    """

    repetitions: int = 40
    iterations: int = 200


@dataclass(frozen=True)
class Overhead:
    """Ratios to the bare training; 1.00 is no cost.

    Attributes:
        cell: RNN, GRU or LSTM.
        size: of the batch and the layer.
        bare_milliseconds: median time of a bare iteration.
        recorded: median over repetitions of a recorded iteration's time to the bare one's beside it.
        idle: the same for a watched iteration that is not recorded.
        default_schedule: total time of a training under the default schedule to that of a bare one.
    """

    cell: str
    size: str
    bare_milliseconds: float
    recorded: float
    idle: float
    default_schedule: float


class _Training:
    """Forward, backward, norm clipping and Adam on one batch, the loss at the last time; `watched` adds a recorder."""

    def __init__(self, cell: str, size: Size, device: torch.device) -> None:
        torch.manual_seed(0)
        self._layer = CELLS[cell](size.hidden, size.hidden).to(device)
        self._head = nn.Linear(size.hidden, 1).to(device)
        self._model = nn.ModuleList([self._layer, self._head])
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-3)
        self._inputs = torch.randn(size.time, size.batch, size.hidden, device=device)
        self._targets = torch.randn(size.batch, 1, device=device)

    def watched(self, run: Path, schedule: Schedule | None) -> Recorder:
        """Return a recorder that watches it."""
        return watch(self._model, self._optimizer, run=run, schedule=schedule)

    def iteration(self) -> float:
        """Return the seconds that one iteration of training took."""
        started = time.perf_counter()
        self._optimizer.zero_grad()
        predicted: Tensor = self._head(self._layer(self._inputs)[0][-1])
        loss = (predicted - self._targets).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self._model.parameters(), 1.0)
        self._optimizer.step()
        if self._inputs.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started


def measure(
    cell: str, size: Size, length: Length, device: str = "cpu", tick: Callable[[], None] = lambda: None
) -> Overhead:
    """Return what watching one cell at one size costs.

    Args:
        cell: a key of `CELLS`.
        size: of the batch and the layer.
        length: of the measurement.
        device: where to train.
        tick: called after every turn.
    """
    with tempfile.TemporaryDirectory() as folder:

        def pairs(name: str, schedule: Schedule | None, count: int, warm_up: int) -> list[tuple[float, float]]:
            # Each watched training has a bare one of its own: whoever follows a heavy iteration pays for it.
            bare, watched = (_Training(cell, size, torch.device(device)) for _ in range(2))
            bare.iteration(), watched.iteration()
            with closing(watched.watched(Path(folder, name), schedule)):
                return list(_turns(bare, watched, count, warm_up, tick))

        recorded = pairs("recorded", Every(1), length.repetitions, warm_up=3)
        idle = pairs("idle", _NEVER, length.repetitions, warm_up=3)
        scheduled = pairs("default", None, length.iterations, warm_up=0)
    return Overhead(
        cell=cell,
        size=str(size),
        bare_milliseconds=1e3 * median(bare for bare, _ in idle),
        recorded=median(watched / bare for bare, watched in recorded),
        idle=median(watched / bare for bare, watched in idle),
        default_schedule=sum(watched for _, watched in scheduled) / sum(bare for bare, _ in scheduled),
    )


def _turns(
    bare: _Training, watched: _Training, count: int, warm_up: int, tick: Callable[[], None]
) -> Iterator[tuple[float, float]]:
    for number in range(warm_up + count):
        if number % 2:
            watched_seconds, bare_seconds = watched.iteration(), bare.iteration()
        else:
            bare_seconds, watched_seconds = bare.iteration(), watched.iteration()
        tick()
        if number >= warm_up:
            yield bare_seconds, watched_seconds

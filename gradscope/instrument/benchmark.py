"""What watching costs on this machine: watched trainings against bare ones, interleaved in one process."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from gradscope.instrument.benchmark_training import Size, Training, turns
from gradscope.instrument.schedules import At, Every, Schedule

_NEVER = At(())


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


def measure(
    cell: str, size: Size, length: Length, device: str = "cpu", tick: Callable[[], None] = lambda: None
) -> Overhead:
    """Return what watching one cell at one size costs.

    Args:
        cell: RNN, GRU or LSTM.
        size: of the batch and the layer.
        length: of the measurement.
        device: where to train.
        tick: called after every turn.
    """
    with tempfile.TemporaryDirectory() as folder:

        def pairs(name: str, schedule: Schedule | None, count: int, warm_up: int) -> list[tuple[float, float]]:
            # Each watched training has a bare one of its own: whoever follows a heavy iteration pays for it.
            bare, watched = (Training(cell, size, torch.device(device)) for _ in range(2))
            bare.iteration(), watched.iteration()
            with closing(watched.watched(Path(folder, name), schedule)):
                return list(turns(bare, watched, count, warm_up, tick))

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

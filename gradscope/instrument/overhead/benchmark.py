"""What watching costs on this machine: watched trainings against bare ones, interleaved in one process."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import torch

from gradscope.instrument.overhead.trainings import Size, Training, Turn, turns
from gradscope.instrument.schedules import At, Every, Schedule
from gradscope.instrument.source import Exactness

TURNS_OF_DEFAULT = 40
_SHORT = 10
"""Turns under the default schedule are shorter so many times: what else a machine does comes and goes in seconds."""
_NEVER = At(())


@dataclass(frozen=True)
class Length:
    """Of a measurement.

    Attributes:
        repetitions: how many pairs of turns are timed: of recorded and bare iterations, and of idle and bare ones.
        iterations: least length of the training under the default schedule, in turns with a bare one.
    """

    repetitions: int = 8
    iterations: int = 200


@dataclass(frozen=True)
class Overhead:
    """Ratios to the bare training; 1.00 is no cost.

    Attributes:
        cell: RNN, GRU or LSTM.
        size: of the batch and the layer.
        bare_milliseconds: median time of a bare iteration.
        recorded: median over repetitions of the time of recorded iterations to that of the bare ones beside them.
        recorded_cpu: the same of the time that all processors spent: what is worked out beside the training counts, and
            it is what recording costs where no processor is free.
        idle: the same for a watched iteration that is not recorded.
        default_schedule: total time of a training under the default schedule to that of a bare one.
    """

    cell: str
    size: str
    bare_milliseconds: float
    recorded: float
    recorded_cpu: float
    idle: float
    default_schedule: float


def measure(
    cell: str,
    size: Size,
    length: Length,
    device: str = "cpu",
    exact: Exactness = "bitwise",
    tick: Callable[[], None] = lambda: None,
) -> Overhead:
    """Return what watching one cell at one size costs.

    Args:
        cell: RNN, GRU or LSTM.
        size: of the batch and the layer.
        length: of the measurement.
        device: where to train.
        exact: as of `watch`.
        tick: called after every turn.
    """
    with tempfile.TemporaryDirectory() as folder:

        def pairs(
            name: str, schedule: Schedule | None, count: int, warm_up: int, iterations: int
        ) -> list[tuple[Turn, Turn]]:
            # Each watched training has a bare one of its own: whoever follows a heavy iteration pays for it.
            bare, watched = (Training(cell, size, torch.device(device)) for _ in range(2))
            for training in (bare, watched):
                training.iteration()
            with closing(watched.watched(Path(folder, name), schedule, exact)):
                return list(turns(bare, watched, count, warm_up, tick, iterations))

        long = Training(cell, size, torch.device(device)).iterations_of_a_long_turn()
        recorded = pairs("recorded", Every(1), length.repetitions, 1, long)
        idle = pairs("idle", _NEVER, length.repetitions, 1, long)
        short = max(long // _SHORT, -(-length.iterations // TURNS_OF_DEFAULT))
        scheduled = pairs("default", None, TURNS_OF_DEFAULT, 0, short)
    return Overhead(
        cell=cell,
        size=str(size),
        bare_milliseconds=1e3 * median(bare.seconds for bare, _ in idle),
        recorded=median(watched.seconds / bare.seconds for bare, watched in recorded),
        recorded_cpu=median(watched.cpu / bare.cpu for bare, watched in recorded),
        idle=median(watched.seconds / bare.seconds for bare, watched in idle),
        default_schedule=sum(watched.seconds for _, watched in scheduled) / sum(bare.seconds for bare, _ in scheduled),
    )

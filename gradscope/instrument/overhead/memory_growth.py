"""How much the resident memory of a watched training grows."""

import tempfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from gradscope.errors import UsageError
from gradscope.instrument.overhead.trainings import Size, Training
from gradscope.instrument.schedules import Every

_STATUS = Path("/proc/self/status")


@dataclass(frozen=True)
class MemoryGrowth:
    """Of one training with every iteration recorded.

    Attributes:
        cell: RNN, GRU or LSTM.
        size: of the batch and the module.
        iterations: how many there were.
        warm_up: iterations before the first measurement.
        start_megabytes: resident memory after the warm-up.
        end_megabytes: at the end.
        largest_megabytes: the largest after the warm-up.
        run_megabytes: size of the run folder.
    """

    cell: str
    size: str
    iterations: int
    warm_up: int
    start_megabytes: float
    end_megabytes: float
    largest_megabytes: float
    run_megabytes: float

    @property
    def growth_megabytes(self) -> float:
        """Return by how much memory was larger, at any moment, than after the warm-up."""
        return self.largest_megabytes - self.start_megabytes


def resident_megabytes() -> float:
    """Return the resident memory of this process.

    Raises:
        UsageError: the system does not tell.
    """
    try:
        lines = _STATUS.read_text(encoding="ascii").splitlines()
    except OSError:
        raise UsageError(
            f"Resident memory is read from {_STATUS}, which this system has not: measure on Linux."
        ) from None
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS:"))


def measure_memory(
    cell: str, size: Size, iterations: int, warm_up: int = 100, tick: Callable[[], None] = lambda: None
) -> MemoryGrowth:
    """Return how the resident memory of a training grows in which every iteration is recorded and written.

    Args:
        cell: RNN, GRU or LSTM.
        size: of the batch and the module.
        iterations: how many, the warm-up among them.
        warm_up: iterations before the first measurement: allocations, imports, caches.
        tick: called after every iteration.
    """
    with tempfile.TemporaryDirectory() as folder:
        training = Training(cell, size, torch.device("cpu"))
        measured = []
        with closing(training.watched(Path(folder, "run"), Every(1))):
            for number in range(iterations):
                training.iteration()
                if number >= warm_up - 1:
                    measured.append(resident_megabytes())
                tick()
        written = sum(part.stat().st_size for part in Path(folder, "run").iterdir())
    return MemoryGrowth(
        cell=cell,
        size=str(size),
        iterations=iterations,
        warm_up=warm_up,
        start_megabytes=measured[0],
        end_megabytes=measured[-1],
        largest_megabytes=max(measured),
        run_megabytes=written / 2**20,
    )

"""The trainings that measurements time: one recurrent module and a linear head, on one batch."""

import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gradscope.errors import UsageError
from gradscope.instrument.recorder import Recorder
from gradscope.instrument.schedules import Schedule
from gradscope.instrument.source import Exactness
from gradscope.instrument.watching import watch

CELLS: dict[str, Callable[..., nn.RNNBase]] = {"RNN": nn.RNN, "GRU": nn.GRU, "LSTM": nn.LSTM}


@dataclass(frozen=True)
class Size:
    """Length of the sequence, sequences a batch, hidden units; there are as many inputs as hidden units.

    Attributes:
        time: T.
        batch: N.
        hidden: H.
        layers: how many are stacked.
        bidirectional: whether each layer has two directions.
    """

    time: int
    batch: int
    hidden: int
    layers: int = 1
    bidirectional: bool = False

    def __str__(self) -> str:
        layers = f" L{self.layers}" if self.layers > 1 else ""
        return f"T{self.time} N{self.batch} H{self.hidden}{layers}{' bidirectional' if self.bidirectional else ''}"

    @staticmethod
    def parse(text: str) -> "Size":
        """Return the size that is written so; spaces and capitals do not matter.

        Raises:
            UsageError: it is no size.
        """
        numbers = re.fullmatch(r"t(\d+)n(\d+)h(\d+)(?:l(\d+))?(b(?:idirectional)?)?", re.sub(r"\s", "", text.lower()))
        if numbers is None or any(number is not None and int(number) < 1 for number in numbers.groups()[:4]):
            raise UsageError(
                f"A size is written like T100N16H64 (times, sequences, hidden units) or T100N16H64L3B (3 layers, "
                f"bidirectional), got {text!r}."
            )
        time_, batch, hidden, layers = (int(number or 1) for number in numbers.groups()[:4])
        return Size(time_, batch, hidden, layers, numbers[5] is not None)


SIZES = (Size(100, 16, 64), Size(100, 32, 128), Size(50, 64, 256))
ITERATIONS_IN_A_TURN = 10
_SECONDS_OF_A_LONG_TURN = 1.0
MORE_SIZES = (Size(100, 16, 64, layers=3, bidirectional=True), Size(1000, 1, 64))


class Turn(NamedTuple):
    """Seconds of one iteration, by the clock and of all processors together."""

    seconds: float
    cpu: float


class Reader(nn.Module):
    """A recurrent module and a linear head on its last output."""

    def __init__(self, cell: str, size: Size) -> None:
        super().__init__()
        options = {"num_layers": size.layers, "bidirectional": size.bidirectional}
        self.rnn = CELLS[cell](size.hidden, size.hidden, **options)
        self.head = nn.Linear(size.hidden * (2 if size.bidirectional else 1), 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return one number a sequence."""
        predicted: Tensor = self.head(self.rnn(inputs)[0][-1])
        return predicted


class Training:
    """Forward, backward, norm clipping and Adam on one batch, the loss at the last time.

    Args:
        cell: a key of `CELLS`.
        size: of the batch and the module.
        device: where to train.
        dtype: of everything.

    Attributes:
        model: what is trained.
        inputs: of the batch.
    """

    def __init__(self, cell: str, size: Size, device: torch.device, dtype: torch.dtype = torch.float32) -> None:
        torch.manual_seed(0)
        self.model = Reader(cell, size).to(device, dtype)
        self._recorder: Recorder | None = None
        self._optimizer = torch.optim.Adam(self.model.parameters(), lr=1e-3)
        # Drawn in one dtype for all, so that trainings in different ones are of the same batch.
        self.inputs = torch.randn(size.time, size.batch, size.hidden).to(device, dtype)
        self._targets = torch.randn(size.batch, 1).to(device, dtype)

    def watched(self, run: Path | None, schedule: Schedule | None, exact: Exactness = "bitwise") -> Recorder:
        """Return a recorder that watches it."""
        self._recorder = watch(self.model, self._optimizer, run=run, schedule=schedule, exact=exact)
        return self._recorder

    def predict(self) -> Tensor:
        """Return what the model says of the batch."""
        predicted: Tensor = self.model(self.inputs)
        return predicted

    def after_backward(self, loss: Tensor) -> None:
        """Do what a user does between the backward pass and clipping; nothing here."""

    def backward(self) -> Tensor:
        """Go forwards and backwards.

        Returns:
            The loss.
        """
        loss = (self.predict() - self._targets).square().mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    def iteration(self) -> None:
        """Train once."""
        self._optimizer.zero_grad()
        self.after_backward(self.backward())
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimizer.step()
        if self.inputs.is_cuda:
            torch.cuda.synchronize()

    def turn(self, iterations: int = ITERATIONS_IN_A_TURN) -> "Turn":
        """Train some times, until all that came of it is worked out: else the next turn would pay for this one.

        Returns:
            What an iteration took.
        """
        started, started_cpu = time.perf_counter(), time.process_time()
        for _ in range(iterations):
            self.iteration()
        if self._recorder is not None:
            self._recorder.wait()
        seconds, cpu = time.perf_counter() - started, time.process_time() - started_cpu
        return Turn(seconds / iterations, cpu / iterations)

    def iterations_of_a_long_turn(self) -> int:
        """Return so many that what is left to work out at a turn's end, which a training goes on beside, is little."""
        return max(ITERATIONS_IN_A_TURN, round(_SECONDS_OF_A_LONG_TURN / self.turn().seconds))


def turns(
    bare: Training,
    other: Training,
    count: int,
    warm_up: int,
    tick: Callable[[], None],
    iterations: int = ITERATIONS_IN_A_TURN,
) -> Iterator[tuple["Turn", "Turn"]]:
    """Run two trainings in turns, each as often first as second.

    Args:
        bare: one training.
        other: the other one.
        count: of pairs that are timed.
        warm_up: pairs before them.
        tick: called after every pair.
        iterations: of a turn.

    Yields:
        A turn of either.
    """
    for number in range(warm_up + count):
        if number % 2:
            other_turn, bare_turn = other.turn(iterations), bare.turn(iterations)
        else:
            bare_turn, other_turn = bare.turn(iterations), other.turn(iterations)
        tick()
        if number >= warm_up:
            yield bare_turn, other_turn

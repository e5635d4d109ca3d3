"""Small real trainings: healthy ones, and ones with a single fault planted."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

import gradscope
from gradscope.cells.initialisations import initialise
from gradscope.runs import Run, open_run
from tests.strategies import make_layer

Prepare = Callable[[nn.RNNBase], object]
Batch = Callable[[int, Tensor, Tensor], tuple[Tensor, Tensor]]
Clip = Callable[[nn.Module], object]


class Recall(nn.Module):
    """Reads a sequence and answers from its last state, from that of another time, or at every time."""

    def __init__(self, kind: str, hidden: int, *, every_time: bool, answer: int) -> None:
        super().__init__()
        self.rnn = make_layer(kind, 2, hidden)
        self.head = nn.Linear(hidden, 1)
        self.every_time = every_time
        self.answer = answer

    def forward(self, inputs: Tensor) -> Tensor:
        """Return (batch, 1), or (time, batch, 1)."""
        states = self.rnn(inputs)[0]
        return self.head(states if self.every_time else states[self.answer])


@dataclass(frozen=True)
class Training:
    """How to train, and what a diagnosis has to say of it.

    The task is to say what the first input was `lag` times before the end.
    """

    name: str
    kind: str
    codes: frozenset[str] = frozenset()
    lag: int = 5
    length: int = 20
    hidden: int = 16
    iterations: int = 30
    optimizer: Callable[..., torch.optim.Optimizer] = torch.optim.Adam
    rate: float = 1e-3
    prepare: Prepare = lambda _: None
    batch: Batch = lambda _, inputs, targets: (inputs, targets)
    clip: Clip = lambda _: None
    every_time: bool = False
    answer: int = -1
    clear: bool = True
    schedule: object = 1
    trained: Callable[[nn.Module], Iterable[nn.Parameter]] = nn.Module.parameters
    metadata: Mapping[str, object] = field(default_factory=dict)

    def run(self, folder: Path, seed: int) -> Run:
        """Train with a seed under gradscope.watch, and open what it wrote."""
        torch.manual_seed(seed)
        model = Recall(self.kind, self.hidden, every_time=self.every_time, answer=self.answer)
        with torch.no_grad():
            self.prepare(model.rnn)
        optimizer = self.optimizer(self.trained(model), lr=self.rate)
        metadata = {"lag": self.lag, **self.metadata}
        with gradscope.watch(model, optimizer, run=folder, schedule=self.schedule, metadata=metadata) as recorder:
            for iteration in range(self.iterations):
                self._step(model, optimizer, recorder, iteration)
        return open_run(folder)

    def _step(
        self, model: Recall, optimizer: torch.optim.Optimizer, recorder: gradscope.Recorder, iteration: int
    ) -> None:
        inputs = torch.randn(self.length, 8, 2)
        wanted = inputs[:, :, :1] if self.every_time else inputs[max(self.length - 1 - self.lag, 0), :, :1]
        inputs, targets = self.batch(iteration, inputs, wanted)
        if self.clear:
            optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(inputs), targets)
        loss.backward()
        self.clip(model)
        recorder.log(loss=loss)
        optimizer.step()


def _started(name: str, argument: float | None = None) -> Prepare:
    return lambda layer: initialise(layer, name, argument)


def _scaled(factor: float) -> Prepare:
    return lambda layer: [weight.mul_(factor) for weight in (layer.weight_ih_l0, layer.weight_hh_l0)]


def _identity(factor: float) -> Prepare:
    def prepare(layer: nn.RNNBase) -> None:
        initialise(layer, "identity")
        layer.weight_hh_l0.mul_(factor)

    return prepare


def _input_weights(factor: float) -> Prepare:
    return lambda layer: layer.weight_ih_l0.mul_(factor)


def _random_net(gain: float) -> Prepare:
    def prepare(layer: nn.RNNBase) -> None:
        layer.weight_hh_l0.normal_(std=gain / layer.hidden_size**0.5)
        layer.weight_ih_l0.mul_(0.1)

    return prepare


def _low_forget_gate(layer: nn.RNNBase) -> None:
    initialise(layer, "forget-bias", -2.0)


def _bias(value: float, share: float) -> Prepare:
    return lambda layer: layer.bias_hh_l0[: int(share * layer.hidden_size)].fill_(value)


def _silent_first_half(_: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    inputs = inputs.abs() + 2
    inputs[: len(inputs) // 2] = 0.0
    return inputs, targets


def _units_that_wait(layer: nn.RNNBase) -> None:
    initialise(layer, "identity")
    layer.weight_ih_l0.abs_()
    layer.bias_hh_l0.fill_(-0.5)


def _one_wild_batch(iteration: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return inputs, 300 * targets + 300 if iteration == 22 else targets


def _sign(_: int, inputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    return inputs, targets.sign()


def _norm(threshold: float) -> Clip:
    return lambda model: nn.utils.clip_grad_norm_(model.parameters(), threshold)


def _value(threshold: float) -> Clip:
    return lambda model: nn.utils.clip_grad_value_(model.parameters(), threshold)


_SGD = torch.optim.SGD
_DECAYED = partial(torch.optim.AdamW, weight_decay=20.0)

HEALTHY = (
    Training("LSTM, forget bias 1", "lstm", prepare=_started("forget-bias", 1.0)),
    Training("LSTM, chrono, lag 30", "lstm", prepare=_started("chrono", 32.0), lag=30, length=40),
    Training("GRU as it comes", "gru", rate=3e-3),
    Training("GRU, update bias 2, lag 15", "gru", prepare=_started("forget-bias", 2.0), lag=15, clip=_norm(10.0)),
    Training("tanh, orthogonal", "rnn_tanh", prepare=_started("orthogonal")),
    Training("relu, identity, lag 15", "rnn_relu", prepare=_started("identity"), lag=15, clip=_norm(30.0)),
    Training("SGD", "gru", optimizer=_SGD, rate=0.05),
)


LEARNED = tuple(
    Training(f"a latch in {kind}, {name}", kind, lag=9, length=10, hidden=32, iterations=400, rate=3e-3, batch=_sign,
             schedule=8, clip=clip)
    for kind in ("gru", "lstm", "rnn_tanh")
    for name, clip in (("free", lambda _: None), ("clipped", _norm(1.0)))
)  # fmt: skip
"""Trainings long enough to learn to hold on to the sign of the first input: their gradient grows on its way back."""


def _faulty(name: str, kind: str, *codes: str, **settings: object) -> Training:
    return Training(name, kind, frozenset(codes), **settings)


FAULTY = (
    _faulty("small weights", "rnn_tanh", "vanishing-gradient", "short-horizon", lag=15,
            prepare=_started("normal", 0.05)),
    _faulty("tiny weights", "rnn_tanh", "gradient-underflow", lag=30, length=40, rate=1e-6,
            prepare=_started("normal", 1e-3)),
    _faulty("gain 3", "rnn_tanh", "exploding-gradient", "chaotic-dynamics", lag=30, length=40, hidden=64, rate=1e-4,
            prepare=_random_net(3.0)),
    _faulty("relu, 1.3 identity", "rnn_relu", "hidden-state-growth", lag=15, length=30, prepare=_identity(1.3)),
    _faulty("padding switches units off", "rnn_relu", "gradient-cut-off", rate=1e-4, batch=_silent_first_half,
            prepare=_units_that_wait),
    _faulty("a loss at every time", "gru", "loss-at-many-times", every_time=True),
    _faulty("norm clipped at 0.001", "gru", "clip-always-on", clip=_norm(1e-3)),
    _faulty("values clipped at 0.001", "gru", "clip-bends-direction", clip=_value(1e-3)),
    _faulty("one wild batch, no clipping", "gru", "clip-never-on", optimizer=_SGD, rate=0.05, batch=_one_wild_batch),
    _faulty("the rate of another model", "rnn_relu", "non-finite", "non-finite-norm", optimizer=_SGD, rate=30.0),
    _faulty("never in the schedule", "gru", "nothing-recorded", schedule=gradscope.At([10**6])),
    _faulty("weights 100 times too large", "lstm", "saturated-gates", prepare=_scaled(100.0)),
    _faulty("inputs 200 times too strong", "rnn_tanh", "saturated-units", prepare=_input_weights(200.0)),
    _faulty("three in four units off", "rnn_relu", "dead-units", prepare=_bias(-20.0, 0.75)),
    _faulty("forget bias -2", "lstm", "forget-gate-too-low", lag=15, prepare=_low_forget_gate),
    _faulty("ten times for a lag of 30", "gru", "truncation-too-short", lag=30, length=10),
    _faulty("answered at the first time", "gru", "read-too-early", answer=0),
    _faulty("zero_grad() forgotten", "gru", "left-over-gradient", clear=False),
    _faulty("weight decay 20", "lstm", "weights-shrunk", iterations=40, rate=5e-3, optimizer=_DECAYED),
    _faulty("SGD at 5", "gru", "update-too-large", optimizer=_SGD, rate=5.0, clip=_norm(1.0)),
    _faulty("optimizer of the head alone", "gru", "weights-left-out", trained=lambda model: model.head.parameters()),
    _faulty("SGD at 1e-7", "gru", "update-too-small", optimizer=_SGD, rate=1e-7),
)  # fmt: skip

"""Stacks, directions, projections, dropout between layers and packed sequences, against loops in float64."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence, pack_sequence, pad_packed_sequence

import gradscope
from gradscope.instrument.fused import kernel_call, reconstruction, zero_inputs
from gradscope.instrument.source import Exactness
from tests.examples import examples
from tests.instrument.hidden_inside import hide_the_inside
from tests.oracles import SequenceTruth, unroll_stack
from tests.strategies import KINDS, make_layer

# PyTorch says so itself, once a process, of every LSTM with a projection on CPU.
pytestmark = pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")

TOLERANCE = {torch.float32: 2e-5, torch.float64: 1e-10}


@dataclass(frozen=True)
class Stack:
    """A module with its batch; `lengths` differ where it is packed."""

    kind: str
    layers: int
    bidirectional: bool
    projection: int
    dropout: float
    bias: bool
    layout: str
    lengths: tuple[int, ...]
    inputs: int
    hidden: int
    initial: bool
    loss: str
    dtype: torch.dtype
    seed: int

    @property
    def module(self) -> nn.RNNBase:
        """The module, with weights that make all nonlinearities work."""
        torch.manual_seed(self.seed)
        options = {"proj_size": self.projection} if self.projection else {}
        layer = make_layer(
            self.kind,
            self.inputs,
            self.hidden,
            num_layers=self.layers,
            bidirectional=self.bidirectional,
            dropout=self.dropout,
            bias=self.bias,
            batch_first=self.layout == "batch first",
            **options,
        )
        with torch.no_grad():
            for parameter in layer.parameters():
                parameter.mul_(1.5)
        return layer.to(self.dtype)

    def data(self) -> tuple[list[Tensor], Tensor, Tensor | None]:
        """Return the sequences (time, input), h_0 and c_0 (layer * direction, batch, state)."""
        generator = torch.Generator().manual_seed(self.seed)
        sequences = [torch.randn(n, self.inputs, generator=generator).to(self.dtype) for n in self.lengths]
        rows = self.layers * (1 + self.bidirectional)
        shapes = [(rows, len(sequences), size) for size in (self.projection or self.hidden, self.hidden)]
        states = [(torch.randn(shape, generator=generator) * self.initial).to(self.dtype) for shape in shapes]
        return sequences, states[0], states[1] if self.kind == "lstm" else None

    def value(self, outputs: list[Tensor], h_n: list[Tensor], c_n: list[Tensor]) -> Tensor:
        """Return the loss: of the same numbers the same, in any dtype."""
        generator = torch.Generator().manual_seed(self.seed + 1)
        total = outputs[0].new_zeros(())
        for output, h, c in zip(outputs, h_n, c_n, strict=True):
            weights = [torch.randn(x.shape, generator=generator).to(output.dtype) for x in (output[0], h, c)]
            if self.loss in ("last time", "everything"):
                total = total + (output[-1] * weights[0]).sum()
            if self.loss == "everything":
                total = total + (output * weights[0]).square().sum() + (c * weights[2]).square().sum()
            if self.loss in ("final", "everything"):
                total = total + (h * weights[1]).sum()
        return total

    def run(self, module: nn.RNNBase) -> Tensor:
        """Call the module in the case's layout, and return the loss."""
        sequences, h_0, c_0 = self.data()
        states = h_0 if c_0 is None else (h_0, c_0)
        if self.layout == "unbatched":
            states = h_0[:, 0] if c_0 is None else (h_0[:, 0], c_0[:, 0])
        inputs = self._inputs(sequences)
        output, final = module(inputs, states) if self.initial else module(inputs)
        h_n, c_n = final if isinstance(final, tuple) else (final, final)
        if self.layout == "unbatched":
            return self.value([output], [h_n], [c_n])
        if isinstance(output, PackedSequence):
            output, _ = pad_packed_sequence(output)
        elif self.layout == "batch first":
            output = output.transpose(0, 1)
        outputs = [output[:length, number] for number, length in enumerate(self.lengths)]
        return self.value(outputs, list(h_n.unbind(1)), list(c_n.unbind(1)))

    def _inputs(self, sequences: list[Tensor]) -> Tensor | PackedSequence:
        if self.layout == "packed":
            return pack_sequence(sequences, enforce_sorted=False)
        if self.layout == "packed sorted":
            return pack_sequence(sequences, enforce_sorted=True)
        if self.layout == "unbatched":
            return sequences[0]
        return torch.stack(sequences, dim=0 if self.layout == "batch first" else 1)

    def masks(self) -> list[Tensor] | None:
        """Return what dropout multiplies by, drawn as the module will draw it after the same seed."""
        if not self.dropout:
            return None
        size = (self.projection or self.hidden) * (1 + self.bidirectional)
        torch.manual_seed(self.seed + 2)
        drawn = []
        for _ in range(self.layers - 1):
            if self.layout.startswith("packed"):
                inputs = self._inputs(self.data()[0])
                ones = inputs._replace(data=torch.ones(len(inputs.data), size, dtype=self.dtype))
                dropped = ones._replace(data=torch.dropout(ones.data, self.dropout, True))
                drawn.append(pad_packed_sequence(dropped)[0])
            else:
                ones = torch.ones(self.lengths[0], len(self.lengths), size, dtype=self.dtype)
                drawn.append(torch.dropout(ones, self.dropout, True))
        return drawn


@st.composite
def stacks(draw: st.DrawFn) -> Stack:
    """Draw a module of any form that PyTorch builds."""
    kind = draw(st.sampled_from(KINDS))
    layout = draw(st.sampled_from(("time first", "batch first", "unbatched", "packed", "packed sorted")))
    time, batch = draw(st.integers(1, 6)), 1 if layout == "unbatched" else draw(st.integers(1, 4))
    lengths = [time] * batch
    if layout.startswith("packed"):
        lengths = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
        lengths = sorted(lengths, reverse=True) if layout == "packed sorted" else lengths
    hidden, layers = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    return Stack(
        kind=kind,
        layers=layers,
        bidirectional=draw(st.booleans()),
        projection=draw(st.integers(0, hidden - 1)) if kind == "lstm" else 0,
        dropout=draw(st.sampled_from((0.0, 0.5))) if layers > 1 else 0.0,
        bias=draw(st.booleans()),
        layout=layout,
        lengths=tuple(lengths),
        inputs=draw(st.integers(1, 4)),
        hidden=hidden,
        initial=draw(st.booleans()),
        loss=draw(st.sampled_from(("last time", "final", "everything"))),
        dtype=draw(st.sampled_from((torch.float32, torch.float64))),
        seed=draw(st.integers(0, 2**31)),
    )


def _watched(case: Stack, module: nn.RNNBase, exact: Exactness) -> dict[str, gradscope.Trajectory]:
    torch.manual_seed(case.seed + 2)
    with gradscope.watch(module, schedule=1, exact=exact) as recorder:
        case.run(module).backward()
        return recorder.latest


def _truth(case: Stack, module: nn.RNNBase, dtype: torch.dtype = torch.float64) -> dict[str, list[SequenceTruth]]:
    sequences, h_0, c_0 = case.data()
    return unroll_stack(module, sequences, case.value, h_0, c_0, case.masks(), dtype)


def _assert_close(got: Tensor, expected: Tensor, tolerance: float, what: str, rounded: Callable[[], Tensor]) -> None:
    error = (got.double() - expected).norm()
    if error > tolerance * expected.norm() + 1e-30:
        # Where a layer's gradient is a small difference of large ones, the training itself knows no more digits of it.
        assert error <= 4 * (rounded().double() - expected).norm(), what


def _weight_gradient_norms(sequences: list[SequenceTruth]) -> Tensor:
    summed = _padded(sequences, "weight_gradients").sum(1)
    return summed.double().flatten(1).norm(dim=1)


def _padded(sequences: list[SequenceTruth], quantity: str) -> Tensor:
    return nn.utils.rnn.pad_sequence([getattr(sequence, quantity) for sequence in sequences])


def _assert_true(case: Stack, module: nn.RNNBase, exact: Exactness = "bitwise") -> None:
    trajectories, truths = _watched(case, module, exact), _truth(case, module)
    assert trajectories.keys() == truths.keys()
    for name, truth in truths.items():
        _assert_layer(trajectories[name], truth, case, name, lambda name=name: _truth(case, module, case.dtype)[name])


def _assert_layer(
    trajectory: gradscope.Trajectory,
    truth: list[SequenceTruth],
    case: Stack,
    name: str,
    rounded: Callable[[], list[SequenceTruth]],
) -> None:
    packed, tolerance = case.layout.startswith("packed"), TOLERANCE[case.dtype]
    assert (trajectory.lengths.tolist() if packed else trajectory.lengths) == (list(case.lengths) if packed else None)
    quantities = ["hidden", "total_gradient", "direct_gradient"]
    quantities += ["cell", "cell_gradient"] if case.kind == "lstm" else []
    for quantity in quantities:
        got, expected = getattr(trajectory, quantity), _padded(truth, quantity)
        _assert_close(got, expected, tolerance, f"{name} {quantity}", lambda of=quantity: _padded(rounded(), of))
    assert trajectory.gates.keys() == truth[0].gates.keys()
    for gate, got in trajectory.gates.items():
        expected = nn.utils.rnn.pad_sequence([sequence.gates[gate] for sequence in truth])
        assert (got.double() - expected).norm() <= tolerance * expected.norm(), f"{name} {gate}"
    norms = _weight_gradient_norms(truth)
    # Gram's identity sums terms of both signs: half of the digits can cancel.
    loose = 1e-3 if case.dtype == torch.float32 else 1e-6
    error, allowed = (trajectory.weight_gradient_norm - norms).abs(), loose * (norms + norms.max())
    if not (error <= allowed).all():
        # Where a unit is saturated, 1 - h^2 has lost its digits in the training itself.
        assert (error <= allowed + 4 * (_weight_gradient_norms(rounded()) - norms).abs()).all(), name


@examples(60)
@given(case=stacks())
def test_every_layer_and_direction_equals_the_unrolled_loop(case: Stack) -> None:
    """Every quantity of every layer, by the mechanism that gradscope chooses, is the float64 oracle's."""
    event(f"{case.kind} {case.layout}")
    with pytest.MonkeyPatch.context() as patch:
        for sweep in ("elman_adjoint", "gru_adjoint"):  # On CPU the training's own delta_t are read, always.
            patch.setattr(reconstruction, sweep, None)
        patch.setattr(kernel_call, "_MANY_OPERATIONS", -1 if case.seed % 2 else 10**9)
        _assert_true(case, case.module)


@examples(60)
@given(case=stacks())
def test_sweep_of_every_layer_equals_the_unrolled_loop(case: Stack) -> None:
    """The same where nothing of the inside can be seen, as with cuDNN."""
    with pytest.MonkeyPatch.context() as patch:
        hide_the_inside(patch)
        _assert_true(case, case.module)


@examples(40)
@given(case=stacks())
def test_zero_inputs_of_every_layer_equal_the_unrolled_loop(case: Stack) -> None:
    """The same where gradients come out of the kernel's own backward pass, for nn.RNN as on a GPU."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(kernel_call, "projection_node", lambda *_: None)
        patch.setattr(zero_inputs, "_pays", lambda _: True)
        # Where rounding outlives a gradient it would be swept: see test_rounding.py.
        patch.setattr(reconstruction, "lstm_agrees", lambda *_: True)
        for sweep in ("lstm_adjoint", "elman_adjoint"):
            patch.setattr(reconstruction, sweep, None)
        _assert_true(case, case.module, exact="rounding")


@examples(60)
@given(case=stacks())
def test_training_is_bit_identical(case: Stack) -> None:
    """Loss, every gradient and the random numbers after are those of the unwatched module, bit for bit."""
    results = []
    for watched in (False, True):
        module = case.module
        torch.manual_seed(case.seed + 2)
        if watched:
            with gradscope.watch(module, schedule=1, keep="full"):
                loss = case.run(module)
                loss.backward()
        else:
            loss = case.run(module)
            loss.backward()
        gradients = [parameter.grad for parameter in module.parameters()]
        results.append([loss.detach(), torch.get_rng_state(), *(g for g in gradients if g is not None)])
    assert [torch.equal(a, b) for a, b in zip(*results, strict=True)] == [True] * len(results[0])

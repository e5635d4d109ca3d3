"""Decoders: nn.RNN, nn.GRU and nn.LSTM called for one time after the other are one sequence, exact at every time."""

import contextlib
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import event, given
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import gradscope
from tests.examples import examples
from tests.instrument.loops import Loop, State, calls_of, inputs_of, loops, oracle
from tests.instrument.test_loop_exactness import assert_true
from tests.instrument.training import assert_identical
from tests.strategies import KINDS, make_layer

Step = Callable[[int, Tensor, State | None], tuple[State, Tensor]]


def _layers(loop: Loop, cells: nn.ModuleList, **options: Any) -> nn.ModuleList:
    """Return a fused module with the weights of each cell."""
    layers = nn.ModuleList()
    for cell in cells:
        layer = make_layer(loop.kind, cell.input_size, loop.hidden, bias=loop.bias, **options).to(loop.dtype)
        layer.load_state_dict({f"{name}_l0": weight for name, weight in cell.state_dict().items()})
        layers.append(layer)
    return layers


def _stack(loop: Loop, cells: nn.ModuleList) -> nn.RNNBase:
    """Return one fused module with the weights of all cells."""
    stack = make_layer(loop.kind, loop.inputs, loop.hidden, bias=loop.bias, num_layers=loop.layers).to(loop.dtype)
    named = {f"{name}_l{n}": weight for n, cell in enumerate(cells) for name, weight in cell.state_dict().items()}
    stack.load_state_dict(named)
    return stack


def _each(parts: State | None, change: Callable[[Tensor], Tensor]) -> State | None:
    if parts is None:
        return None
    return tuple(map(change, parts)) if isinstance(parts, tuple) else change(parts)


def _step_of_layers(layers: nn.ModuleList) -> Step:
    def step(layer: int, x: Tensor, state: State | None) -> tuple[State, Tensor]:
        axis = 1 if layers[layer].batch_first and x.dim() == 2 else 0
        output, state = layers[layer](x.unsqueeze(axis), _each(state, lambda part: part.unsqueeze(0)))
        return _each(state, lambda part: part.squeeze(0)), output.squeeze(axis)

    return step


def _run_stack(loop: Loop, stack: nn.RNNBase) -> Tensor:
    """Go through the loop with one call of the stack a time; return the loss."""
    inputs, initial = loop.data(loop.dtype)
    state = None if initial is None else tuple(torch.stack(parts) for parts in zip(*initial, strict=True))
    outputs = []
    for time, x in enumerate(inputs):
        if loop.detach_every and time and time % loop.detach_every == 0:
            state = _each(state, Tensor.detach)
        state = state[0] if isinstance(state, tuple) and len(state) == 1 else state
        output, state = stack(x.unsqueeze(0), state)
        outputs.append(output[0])
    return loop.loss_of(torch.stack(outputs))


@examples(60)
@given(loop=loops(dtypes=(torch.float64,)), batch_first=st.booleans())
def test_everything_equals_the_loop_written_out(loop: Loop, batch_first: bool) -> None:
    """With teacher forcing, attention, initial states and cuts: whatever a decoder does around its layers."""
    event(loop.kind)
    cells = loop.model()
    layers = _layers(loop, cells, batch_first=batch_first)
    with gradscope.watch(layers, schedule=1) as recorder:
        loop.run(_step_of_layers(layers), *loop.data(loop.dtype)).backward()
        trajectories = recorder.latest
    truths = oracle(loop, cells)
    assert trajectories
    for name, trajectory in trajectories.items():
        assert_true(trajectory, truths[int(name.removesuffix(".l0"))], 1e-11)
        nothing = truths[int(name.removesuffix(".l0"))].direct_gradient.flatten(2).norm(dim=2) == 0
        assert float(trajectory.direct_gradient.norm(dim=2)[nothing].sum()) == 0


@examples(40)
@given(loop=loops(dtypes=(torch.float64,)))
def test_every_layer_of_a_stack_equals_the_loop_written_out(loop: Loop) -> None:
    """The states of all layers come and go in one tensor, and are still told apart, over cuts as well."""
    loop = replace(loop, feedback=False, attention=False)
    cells = loop.model()
    stack = _stack(loop, cells)
    with gradscope.watch(stack, schedule=1) as recorder:
        _run_stack(loop, stack).backward()
        trajectories = recorder.latest
    assert trajectories
    for name, trajectory in trajectories.items():
        assert len(trajectory.hidden) == loop.time
        assert_true(trajectory, oracle(loop, cells)[int(name.removeprefix("l"))], 1e-11)


@pytest.mark.parametrize("exact", ["bitwise", "rounding"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_projection(exact: str, bias: bool) -> None:
    """An LSTM with proj_size, time after time, has the numbers of the same LSTM given the whole sequence."""
    torch.manual_seed(0)
    layer, inputs = nn.LSTM(3, 7, proj_size=4, num_layers=2, bias=bias).double(), inputs_of(6)
    with gradscope.watch(layer, schedule=1, exact=exact) as recorder:
        layer(inputs)[0].square().sum().backward()
        whole = dict(recorder.latest)
    with gradscope.watch(layer, schedule=1, exact=exact) as recorder:
        state, outputs = None, []
        for x in inputs.split(1):
            output, state = layer(x, state)
            outputs.append(output)
        torch.cat(outputs).square().sum().backward()
        stepped = dict(recorder.latest)
    assert stepped.keys() == whole.keys() == {"l0", "l1"}
    for name, of_layer in whole.items():
        for quantity in (
            "hidden",
            "total_gradient",
            "direct_gradient",
            "cell",
            "cell_gradient",
            "weight_gradient_norm",
        ):
            torch.testing.assert_close(getattr(stepped[name], quantity), getattr(of_layer, quantity))
        for gate, opened in of_layer.gates.items():
            torch.testing.assert_close(stepped[name].gates[gate], opened)


def _train(loop: Loop, *, stacked: bool, watched: bool, **options: Any) -> list[Tensor]:
    cells = loop.model()
    model = _stack(loop, cells) if stacked else _layers(loop, cells)
    if stacked and loop.layers > 1:
        model.dropout = 0.2
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    losses = []
    torch.manual_seed(1)
    with gradscope.watch(model, optimizer, **options) if watched else contextlib.nullcontext():
        for iteration in range(12):
            optimizer.zero_grad()
            if stacked:
                loss = _run_stack(loop, model)
            else:
                loss = loop.run(_step_of_layers(model), *loop.data(loop.dtype, iteration))
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [*losses, *model.state_dict().values(), *gradients, torch.get_rng_state()]


@examples(25)
@given(
    loop=loops(dtypes=(torch.float32, torch.float64, torch.bfloat16)),
    stacked=st.booleans(),
    keep=st.sampled_from(("norms", "states", "full")),
    schedule=st.sampled_from((1, 3, gradscope.Budget(0.5))),
)
def test_training_is_bit_identical(loop: Loop, stacked: bool, keep: str, schedule: Any) -> None:
    """Watched or not: every loss, parameter, gradient and random number."""
    expected = _train(loop, stacked=stacked, watched=False)
    with tempfile.TemporaryDirectory() as folder:
        got = _train(loop, stacked=stacked, watched=True, keep=keep, schedule=schedule, run=Path(folder, "run"))
    assert_identical(got, expected)


@pytest.mark.parametrize("kind", KINDS)
def test_a_decoder_that_greedily_reads_what_it_wrote(kind: str, tmp_path: Path) -> None:
    """An encoder given a whole sentence, a decoder of one word a call from its last state: two sequences."""
    torch.manual_seed(0)
    model = nn.ModuleDict(
        {
            "embed": nn.Embedding(11, 6),
            "encoder": make_layer(kind, 6, 8, batch_first=True),
            "decoder": make_layer(kind, 6, 8, batch_first=True),
            "out": nn.Linear(8, 11),
        }
    )
    words, hiddens = torch.randint(11, (4, 9)), []
    with gradscope.watch(model, run=tmp_path / "run", schedule=1) as recorder:
        _, state = model["encoder"](model["embed"](words))
        word, loss = torch.zeros((4, 1), dtype=torch.long), torch.zeros(())
        for target in words.split(1, 1):
            output, state = model["decoder"](model["embed"](word), state)
            hiddens.append(state[0] if kind == "lstm" else state)
            logits = model["out"](output[:, 0])
            loss = loss + nn.functional.cross_entropy(logits, target[:, 0])
            word = logits.detach().argmax(1, keepdim=True)
        loss.backward()
        decoder = recorder.latest["decoder.l0"]
        recorder.end_iteration()
    torch.testing.assert_close(decoder.hidden, torch.cat(hiddens).detach(), rtol=0, atol=0)
    assert calls_of(tmp_path / "run", "encoder.l0") == {0: 9}
    assert calls_of(tmp_path / "run", "decoder.l0") == {0: 9}


def test_sequences_that_take_turns(tmp_path: Path) -> None:
    """Two streams through one decoder are two calls; the state says which is whose."""
    layer = nn.GRU(3, 5, num_layers=2).double()
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        states = [None, None]
        for time, x in enumerate(inputs_of(9).split(1)):
            _, states[time % 2] = layer(x, states[time % 2])
        sum(state.square().sum() for state in states).backward()
        recorder.end_iteration()
    for name in ("l0", "l1"):
        assert calls_of(tmp_path / "run", name) == {0: 5, 1: 4}


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("keep_alive", [True, False])
def test_windows_with_a_backward_pass_of_their_own(layers: int, keep_alive: bool, tmp_path: Path) -> None:
    """A detach and a backward pass every four times: three calls of four times."""
    layer, alive, state = nn.LSTM(3, 5, layers).double(), [], None
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        for window in inputs_of(12).split(4):
            for x in window.split(1):
                output, state = layer(x, state)
            output.sum().backward()
            alive += [output] if keep_alive else []
            state = tuple(part.detach() for part in state)
        recorder.end_iteration()
    assert calls_of(tmp_path / "run", f"l{layers - 1}") == {0: 4, 1: 4, 2: 4}


def test_a_stack_whose_lowest_layer_is_frozen_goes_over_a_detach(tmp_path: Path) -> None:
    """Its state is found in the tensor that the stack returns, though the layer below records nothing."""
    layer, state = nn.GRU(3, 5, 2).double(), None
    for name, parameter in layer.named_parameters():
        parameter.requires_grad_("l1" in name)
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        for x in inputs_of(6).split(1):
            output, state = layer(x, state)
            state = state.detach()
        output.sum().backward()
        recorder.end_iteration()
    assert calls_of(tmp_path / "run", "l1") == {0: 6}


def test_inside_activation_checkpointing() -> None:
    """A checkpointed decoder has the gradients of one that is not."""

    def loop(inputs: Tensor) -> Tensor:
        state = None
        for x in inputs.split(1):
            output, state = layer(x, state)
        return output

    torch.manual_seed(0)
    layer, found = nn.GRU(3, 5, 2).double(), []
    for use_reentrant in (None, False, True):
        with gradscope.watch(layer, schedule=1) as recorder:
            inputs = inputs_of(6).requires_grad_()
            last = loop(inputs) if use_reentrant is None else checkpoint(loop, inputs, use_reentrant=use_reentrant)
            last.square().sum().backward()
            found.append(dict(recorder.latest))
    for trajectories in found:
        for name in ("l0", "l1"):
            for quantity in ("total_gradient", "direct_gradient"):
                expected = getattr(found[0][name], quantity)
                assert len(expected) == 6
                torch.testing.assert_close(getattr(trajectories[name], quantity), expected, rtol=0, atol=0)


def test_under_autocast() -> None:
    """A float32 decoder that computes in bfloat16: what is recorded is what it computed, with its gradients."""
    torch.manual_seed(0)
    layer, states = nn.GRU(3, 5), []
    with gradscope.watch(layer, schedule=1) as recorder:
        with torch.autocast("cpu", torch.bfloat16):
            state = None
            for x in inputs_of(6).float().split(1):
                _, state = layer(x, state)
                state.retain_grad()
                states.append(state)
        state.float().square().sum().backward()
        trajectory = recorder.latest["l0"]
    expected = torch.cat([state.grad for state in states])
    torch.testing.assert_close(trajectory.total_gradient, expected.float(), rtol=0, atol=0)
    assert (trajectory.direct_gradient.flatten(1).norm(dim=1) > 0).tolist() == [False] * 5 + [True]


def test_the_gradient_of_a_gradient_is_left_out(tmp_path: Path) -> None:
    """As for a whole sequence: part of it enters inside the fused function, where it cannot be seen."""
    layer, inputs = nn.RNN(3, 5), inputs_of(4).float().requires_grad_()
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        state = None
        for x in inputs.split(1):
            _, state = layer(x, state)
        (gradient,) = torch.autograd.grad(state.square().sum(), inputs, create_graph=True)
        with pytest.warns(UserWarning, match="gradient of a gradient"):
            gradient.square().sum().backward()
        recorder.end_iteration()
    assert calls_of(tmp_path / "run", "l0") == {0: 4}


def test_two_directions_and_layers_without_memory_are_calls_of_one_time(tmp_path: Path) -> None:
    """A reverse direction reads no loop's times in turn, and a state that is not handed on continues nothing."""
    for name, layer, hand_on in (("both", nn.GRU(3, 5, bidirectional=True), True), ("none", nn.GRU(3, 5), False)):
        with gradscope.watch(layer.double(), run=tmp_path / name, schedule=1) as recorder:
            state, outputs = None, []
            for x in inputs_of(3).split(1):
                output, after = layer(x, state)
                state = after if hand_on else None
                outputs.append(output)
            torch.cat(outputs).sum().backward()
            recorder.end_iteration()
        assert calls_of(tmp_path / name, "l0") == {0: 1, 1: 1, 2: 1}


def test_a_batch_that_shrinks_is_said(tmp_path: Path) -> None:
    """Sequences that leave the batch on the way are not followed: one warning, and what works."""
    layer = nn.GRU(3, 5).double()
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        _, state = layer(inputs_of(1, batch=4))
        _, state = layer(inputs_of(1, batch=2), state[:, :2])
        with pytest.warns(UserWarning, match="the shape of its state changed"):
            state.sum().backward()
        recorder.end_iteration()


@pytest.mark.parametrize("precision", ["autocast", "bfloat16", "float16", "float32"])
@pytest.mark.parametrize("kind", KINDS)
def test_what_enters_by_the_output_is_known_in_every_precision(kind: str, precision: str) -> None:
    """The loss looks at outputs, the recurrence at h_n: what comes to outputs is direct, however small."""
    torch.manual_seed(0)
    dtype = {"bfloat16": torch.bfloat16, "float16": torch.float16}.get(precision, torch.float32)
    layer, outputs = make_layer(kind, 3, 16).to(dtype), []
    with gradscope.watch(layer, schedule=1) as recorder:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "autocast"):
            state = None
            for x in torch.randn(30, 1, 4, 3, dtype=dtype):
                output, state = layer(x, state)
                output.retain_grad()
                outputs.append(output)
        loss = sum((1e-3 if time < 29 else 1) * output.float().square().sum() for time, output in enumerate(outputs))
        loss.backward()
        trajectory = recorder.latest["l0"]
    expected = torch.cat([output.grad for output in outputs]).float()
    torch.testing.assert_close(trajectory.direct_gradient, expected, rtol=0, atol=0)
    assert (expected.norm(dim=2) > 0).all()


@pytest.mark.parametrize("kind", ["rnn_tanh", "gru"])
@pytest.mark.parametrize("batch_first", [False, True])
def test_an_output_that_is_handed_on_as_the_state(kind: str, batch_first: bool) -> None:
    """What comes through the recurrence is told from what the loss sends, though both come to the output."""
    torch.manual_seed(0)
    layer, inputs = make_layer(kind, 3, 5, batch_first=batch_first).double(), inputs_of(6)
    found = []
    for hand_output in (False, True):
        with gradscope.watch(layer, schedule=1) as recorder:
            state, outputs = None, []
            for x in inputs:
                output, last = layer(x.unsqueeze(1 if batch_first else 0), state)
                state = (output.transpose(0, 1) if batch_first else output) if hand_output else last
                outputs.append(output)
            torch.cat(outputs).square().sum().backward()
            found.append(recorder.latest["l0"])
    for quantity in ("hidden", "total_gradient", "direct_gradient", "weight_gradient_norm"):
        assert len(getattr(found[1], quantity)) == 6
        torch.testing.assert_close(getattr(found[1], quantity), getattr(found[0], quantity))


class _Looping(nn.GRU):
    """Resets finished sequences between the times, in a forward of its own."""

    def forward(self, inputs: Tensor, done: Tensor) -> Tensor:
        """Return the outputs of all times."""
        state, outputs = None, []
        for x, ended in zip(inputs.split(1), done, strict=True):
            output, state = super().forward(x, state)
            state = state * ~ended[:, None]
            outputs.append(output)
        return torch.cat(outputs)


@pytest.mark.parametrize("layers", [1, 2])
def test_a_forward_of_ones_own_that_loops(layers: int, tmp_path: Path) -> None:
    """The fused function is called once a time within one call of the module: one sequence a layer all the same."""
    layer = _Looping(3, 5, layers).double()
    with gradscope.watch(nn.ModuleList([layer]), run=tmp_path / "run", schedule=1) as recorder:
        layer(inputs_of(9), torch.rand(9, 4) < 0.2).square().sum().backward()
        recorder.end_iteration()
    for number in range(layers):
        assert calls_of(tmp_path / "run", f"0.l{number}") == {0: 9}


@pytest.mark.parametrize("layers", [1, 2])
def test_a_state_that_is_set_to_zero_in_place(layers: int) -> None:
    """As where an episode has ended. What was computed stays known: the output has it too."""
    torch.manual_seed(0)
    layer, hiddens, outputs, state = nn.GRU(3, 5, layers).double(), [], [], None
    with gradscope.watch(layer, schedule=1) as recorder:
        for time, x in enumerate(inputs_of(6).split(1)):
            output, state = layer(x, state)
            hiddens.append(state[-1].detach().clone())
            if time == 2:
                state[:, 1] = 0
            outputs.append(output)
        torch.cat(outputs)[-1].square().sum().backward()
        trajectory = recorder.latest[f"l{layers - 1}"]
    torch.testing.assert_close(trajectory.hidden, torch.stack(hiddens), rtol=0, atol=0)
    reached = trajectory.total_gradient.norm(dim=2) > 0
    assert reached[:3].tolist() == [[True, False, True, True]] * 3
    assert reached[3:].all()
    assert trajectory.direct_gradient[2].isnan().any()
    assert not trajectory.direct_gradient[[0, 1, 3, 4]].any()


def test_a_detached_output_goes_on_as_a_detached_state_does(tmp_path: Path) -> None:
    """It has the same numbers, wherever they lie."""
    layer, state = nn.GRU(3, 5).double(), None
    with gradscope.watch(layer, run=tmp_path / "run", schedule=1) as recorder:
        for x in inputs_of(5).split(1):
            output, _ = layer(x, state)
            state = output.detach()
        output.sum().backward()
        recorder.end_iteration()
    assert calls_of(tmp_path / "run", "l0") == {0: 5}


def test_weights_that_are_exchanged_between_two_times() -> None:
    """`weight.data = other` has no version to tell it by: each time is worked out with the weights that it had."""
    torch.manual_seed(0)
    layer, other, found = nn.GRU(3, 5).double(), nn.GRU(3, 5).double(), []
    with gradscope.watch(layer, schedule=1) as recorder:
        state = None
        for time, x in enumerate(inputs_of(6).split(1)):
            if time == 3:
                for mine, its in zip(layer.parameters(), other.parameters(), strict=True):
                    mine.data = its.data
            found.append((x[0], None if state is None else state.detach()[0], [p.detach() for p in layer.parameters()]))
            _, state = layer(x, state)
        state.sum().backward()
        trajectory = recorder.latest["l0"]
    for time, (x, before, (from_input, from_state, bias, other_bias)) in enumerate(found):
        before = torch.zeros(4, 5, dtype=torch.float64) if before is None else before
        rows = x @ from_input.T + bias + before @ from_state.T + other_bias
        torch.testing.assert_close(trajectory.gates["update"][time], torch.sigmoid(rows[:, 5:10]))

"""What oneDNN's LSTM leaves behind is read in the right place, or not at all."""

import os
import subprocess
import sys
import weakref
from collections.abc import Callable
from unittest.mock import patch

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

import gradscope
from gradscope.instrument.fused import kernel_call, onednn, reconstruction
from gradscope.instrument.fused.workspace import Workspace
from tests.examples import examples
from tests.oracles import unroll


def _by_layer(module: nn.LSTM, batch: Tensor, loss: Callable[..., Tensor]) -> dict[str, gradscope.Trajectory]:
    with gradscope.watch(module, schedule=1) as recorder:
        loss(*module(batch)).backward()
        return recorder.latest


def _loss(output: Tensor, final: tuple[Tensor, Tensor]) -> Tensor:
    h_n, c_n = final
    return output.sin().sum() + h_n.square().sum() + c_n.cos().sum()


def _same_as_the_loop(layer: nn.LSTM, batch: Tensor, found: gradscope.Trajectory) -> None:
    zero = torch.zeros(batch.shape[1], layer.hidden_size)
    truth = unroll(layer, batch, lambda sequence, *_: sequence.sin().sum(), zero, zero)
    torch.testing.assert_close(found.total_gradient.double(), truth.total_gradient, rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(found.cell_gradient.double(), truth.cell_gradient, rtol=1e-4, atol=1e-6)


def test_nothing_is_read_that_another_function_did_not_write() -> None:
    """To be differentiated again, a gradient is computed without oneDNN: its memory holds what was there before."""
    torch.manual_seed(0)
    layer, weights = nn.LSTM(5, 16), []
    with gradscope.watch(layer, schedule=1) as recorder:
        for create_graph in (False, False, True, True, False):
            batch = torch.randn(6, 3, 5)
            weights.append(
                torch.autograd.grad(layer(batch)[0].sin().sum(), [*layer.parameters()], create_graph=create_graph)
            )
            _same_as_the_loop(layer, batch, recorder.latest["l0"])


def test_nothing_is_read_of_a_direction_that_no_backward_pass_went_through() -> None:
    """Gradients of the other direction's weights alone leave its memory as it was."""
    torch.manual_seed(0)
    layer, forwards = nn.LSTM(5, 16, bidirectional=True), nn.LSTM(5, 16)
    forwards.load_state_dict({name: getattr(layer, name) for name in forwards.state_dict()})
    backwards = [parameter for name, parameter in layer.named_parameters() if name.endswith("reverse")]
    with gradscope.watch(layer, schedule=1) as recorder:
        for inputs in (None, None, backwards, backwards):
            batch = torch.randn(6, 3, 5)
            layer(batch)[0].sin().sum().backward(inputs=inputs)
            _same_as_the_loop(forwards, batch, recorder.latest["l0"])


def _refuse(*_: object) -> None:
    raise AssertionError("all was computed a second time")


@examples(40)
@given(
    time=st.integers(2, 30),
    batch=st.integers(1, 20),
    inputs=st.sampled_from([1, 5, 16, 70, 256, 300]),
    units=st.sampled_from([1, 3, 10, 16, 60, 64, 100, 256]),
    layers=st.integers(1, 2),
    bidirectional=st.booleans(),
    batch_first=st.booleans(),
    bias=st.booleans(),
    threads=st.integers(1, 2),
)
def test_what_is_read_is_what_would_be_computed(
    time: int, batch: int, inputs: int, units: int, threads: int, **options: bool | int
) -> None:
    """Whatever the sizes, which are padded in memory, nothing has to be computed a second time."""
    options["num_layers"] = options.pop("layers")
    torch.manual_seed(time * batch + units)
    module = nn.LSTM(inputs, units, **options)
    sizes = (batch, time) if options["batch_first"] else (time, batch)
    sequence, before = torch.randn(*sizes, inputs), torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with patch.object(reconstruction, "_lstm_swept", _refuse):
            read = _by_layer(module, sequence, _loss)
        with patch.object(kernel_call, "kept_memory", lambda *_, **__: None):
            computed = _by_layer(module, sequence, _loss)
    finally:
        torch.set_num_threads(before)
    assert list(read) == list(computed)
    for layer, expected in computed.items():
        for name in ("hidden", "total_gradient", "direct_gradient", "cell", "cell_gradient", "weight_gradient_norm"):
            got, wanted = getattr(read[layer], name), getattr(expected, name)
            torch.testing.assert_close(got, wanted, rtol=1e-3, atol=1e-4 * float(wanted.abs().max()))
        for name, gate in expected.gates.items():
            torch.testing.assert_close(read[layer].gates[name], gate, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrong", ["_padded", "_pages"])
def test_another_layout_is_noticed(wrong: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should oneDNN lay its memory out differently one day, all is computed, to the same numbers."""
    torch.manual_seed(0)
    module, batch = nn.LSTM(3, 16), torch.randn(9, 2, 3)
    right = getattr(onednn, wrong)
    monkeypatch.setattr(onednn, wrong, lambda size: right(size) + 16)
    monkeypatch.setattr(onednn, "_AGREED", set())
    recorded = _by_layer(module, batch, _loss)["l0"]
    assert not onednn._AGREED
    truth = unroll(module, batch, lambda out, h, c: _loss(out, (h, c)), torch.zeros(2, 16), torch.zeros(2, 16))
    torch.testing.assert_close(recorded.total_gradient.double(), truth.total_gradient, rtol=1e-4, atol=1e-6)


def test_one_shape_does_not_vouch_for_another(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor one direction for the other: each is looked at for itself."""
    torch.manual_seed(0)
    monkeypatch.setattr(onednn, "_AGREED", set())
    cases = [(nn.LSTM(3, 16), (9, 2, 3)), (nn.LSTM(3, 16), (8, 2, 3)), (nn.LSTM(3, 20), (9, 2, 3))]
    cases += [(nn.LSTM(3, 16), (9, 4, 3)), (nn.LSTM(40, 16), (9, 2, 40))]
    for number, (module, shape) in enumerate(cases):
        _by_layer(module, torch.randn(*shape), _loss)
        assert len(onednn._AGREED) == number + 1
    _by_layer(nn.LSTM(3, 16, bidirectional=True), torch.randn(9, 2, 3), _loss)
    assert len(onednn._AGREED) == len(cases) + 1


def test_zeros_prove_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Gradients of zero are zero wherever they are read."""
    monkeypatch.setattr(onednn, "_AGREED", set())
    module, batch = nn.LSTM(3, 4), torch.randn(9, 2, 3)
    recorded = _by_layer(module, batch, lambda output, _: 0 * output.sum())["l0"]
    assert not recorded.total_gradient.any()
    assert not onednn._AGREED
    _by_layer(module, batch, _loss)
    assert len(onednn._AGREED) == 1


def test_each_of_two_backward_passes_has_its_own() -> None:
    """A graph that is kept is gone through twice, and its memory written to twice."""
    torch.manual_seed(0)
    module, batch = nn.LSTM(3, 4), torch.randn(6, 2, 3)
    states = torch.zeros(2, 4), torch.zeros(2, 4)
    with gradscope.watch(module, schedule=1) as recorder, patch.object(reconstruction, "_lstm_swept", _refuse):
        output, _ = module(batch)
        found = []
        for weight in (1, -3):
            (weight * output[-1].sum()).backward(retain_graph=weight == 1)
            found.append(recorder.latest["l0"].total_gradient)
    for weight, total in zip((1, -3), found, strict=True):
        truth = unroll(module, batch, lambda out, *_, by=weight: by * out[-1].sum(), *states)
        torch.testing.assert_close(total.double(), truth.total_gradient, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("retain", [True, False])
def test_the_memory_is_let_go_with_its_graph(retain: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """As early as in a training that nobody watches, and no earlier."""
    seen, kept_memory = [], kernel_call.kept_memory

    def noted(*given: object, **options: bool) -> Tensor | None:
        kept = kept_memory(*given, **options)
        seen.append(weakref.ref(kept))
        return kept

    monkeypatch.setattr(kernel_call, "kept_memory", noted)
    module, batch = nn.LSTM(3, 4), torch.randn(6, 2, 3)
    with gradscope.watch(module, schedule=1) as recorder:
        loss = module(batch)[0].sum()
        loss.backward(retain_graph=retain)
        recorder.wait()
        assert [memory() is not None for memory in seen] == [retain]


def _five_iterations(given: tuple[Tensor, Tensor], *, keeps_graphs: bool) -> list[gradscope.Trajectory]:
    torch.manual_seed(0)
    module, graphs = nn.LSTM(3, 4), []
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    found = []
    with gradscope.watch(module, optimizer, schedule=1) as recorder:
        for number in range(5):
            loss = _loss(*module(torch.randn(6, 2, 3), tuple(state + number for state in given)))
            loss.backward(retain_graph=keeps_graphs)
            graphs.append(loss)
            optimizer.step()
            found.append(recorder.latest["l0"])
    return found


@pytest.mark.parametrize("keeps_graphs", [True, False])
def test_memory_that_is_held_is_read_as_copies_are(keeps_graphs: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large memory is not copied, unless the user's graph has it too: then the next pass writes to it."""
    given, names = (torch.randn(1, 2, 4), torch.randn(1, 2, 4)), []
    copied = _five_iterations(given, keeps_graphs=keeps_graphs)
    copy = Workspace.copy
    monkeypatch.setattr(Workspace, "copy", lambda self, name, tensor: names.append(name) or copy(self, name, tensor))
    monkeypatch.setattr(onednn, "_LARGEST_KEPT_BLOCK", 0)

    held = _five_iterations(given, keeps_graphs=keeps_graphs)

    assert ("gates" in names) == keeps_graphs
    for one, other in zip(held, copied, strict=True):
        for name in ("hidden", "cell", "total_gradient", "cell_gradient", "weight_gradient_norm", "saturation"):
            assert torch.equal(getattr(one, name), getattr(other, name))
        assert all(torch.equal(one.gates[name], other.gates[name]) for name in ("input", "forget", "output"))


def test_an_initial_state_of_the_users_own_may_be_overwritten() -> None:
    """As soon as the backward pass is over, before its thread has come to it."""
    torch.manual_seed(0)
    module, batch, state = nn.LSTM(3, 64), torch.randn(50, 8, 3), (torch.randn(1, 8, 64), torch.randn(1, 8, 64))
    before = tuple(one[0].double() for one in state)
    with gradscope.watch(module, schedule=1) as recorder:
        module(batch, state)[0].sin().sum().backward()
        for one in state:
            one.fill_(7.0)
        found = recorder.latest["l0"]
    truth = unroll(module, batch, lambda sequence, *_: sequence.sin().sum(), *before)
    torch.testing.assert_close(found.cell_gradient.double(), truth.cell_gradient, rtol=1e-4, atol=1e-6)
    # The first time's term in dL/dW_hh alone is made with h before the sequence.
    torch.testing.assert_close(
        found.weight_gradient_norm.double(), truth.weight_gradient_norm.double(), rtol=1e-3, atol=1e-6
    )


_SCRIPT = """
import torch, gradscope
from gradscope.instrument.fused import onednn
layer = torch.nn.LSTM(20, 70)
with gradscope.watch(layer, schedule=1) as recorder:
    layer(torch.randn(9, 3, 20))[0].sin().sum().backward()
    recorder.wait()
print("read" if onednn._AGREED else "computed")
"""


def test_processors_with_fewer_instructions_lay_it_out_alike() -> None:
    """The same without AVX, which oneDNN is told not to use."""
    environment = os.environ | {"ONEDNN_MAX_CPU_ISA": "SSE41"}
    said = subprocess.run([sys.executable, "-c", _SCRIPT], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "read"

"""What is worked out later does not see what training, or its user, does in the meantime."""

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import gradscope
from gradscope.instrument.fused import kernel_call
from gradscope.instrument.recording.collector import Collector
from tests.oracles import unroll
from tests.strategies import KINDS, make_layer


@pytest.fixture(autouse=True)
def _everything_is_worth_the_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small passes are worked out at once otherwise, before anything could change."""
    monkeypatch.setattr(kernel_call, "_MANY_ELEMENTS", 0)


def _overwrite(*tensors: Tensor) -> None:
    with torch.no_grad():
        for tensor in tensors:
            tensor.fill_(7.0)


@pytest.mark.parametrize("kind", KINDS)
def test_everything_may_change_as_soon_as_the_backward_pass_has_ended(kind: str) -> None:
    """Input, output, gradient of the output and weights written over at once: what is recorded is the oracle's."""
    torch.manual_seed(0)
    layer, batch = make_layer(kind, 3, 8), torch.randn(9, 4, 3)
    zero = torch.zeros(4, 8)
    truth = unroll(layer, batch, lambda sequence, *_: (sequence**2).sum(), zero, zero if kind == "lstm" else None)
    with gradscope.watch(layer, schedule=1) as recorder:
        output, _ = layer(batch)
        output.retain_grad()
        (output**2).sum().backward()
        _overwrite(batch, output, output.grad, *layer.parameters())
        recorded = recorder.latest["l0"]
    for name in ("hidden", "total_gradient", "direct_gradient", "weight_gradient_norm"):
        torch.testing.assert_close(getattr(recorded, name).double(), getattr(truth, name), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_a_gradient_that_the_user_brings_may_change(kind: str) -> None:
    """A buffer of NumPy's that is handed to `backward` is filled anew for the next call: no tensor tells of it."""
    layer, batch, buffer = make_layer(kind, 3, 8), torch.randn(9, 4, 3), np.ones((9, 4, 8), np.float32)

    def recorded(*, overwrite: bool) -> gradscope.Trajectory:
        buffer.fill(1.0)
        with gradscope.watch(layer, schedule=1) as recorder:
            output, _ = layer(batch)
            output.backward(torch.from_numpy(buffer))
            if overwrite:
                buffer.fill(7.0)
            return recorder.latest["l0"]

    left_alone, written_over = recorded(overwrite=False), recorded(overwrite=True)
    assert torch.equal(left_alone.direct_gradient, written_over.direct_gradient)
    assert torch.equal(left_alone.total_gradient, written_over.total_gradient)


@pytest.mark.parametrize("kind", KINDS)
def test_what_nobody_else_holds_is_not_copied(kind: str) -> None:
    """Where the user keeps neither output nor gradient, their memory is taken as it is; where they do, it is copied."""
    layer, batch = make_layer(kind, 3, 8), torch.randn(9, 4, 3)

    def copied(*, keep: bool) -> set[str]:
        with gradscope.watch(layer, schedule=1) as recorder:
            output, _ = layer(batch)
            output.register_hook(lambda gradient: kept.append(gradient) if keep else None)
            kept = [output] if keep else []
            loss = output[-1].sum()
            del output
            loss.backward()
            recorder.wait()
            (source,) = recorder._hooks._sources[:-1]
            return {*source._layers[0].copies[0]._taken} & {"hidden", "arrived0"}

    assert copied(keep=False) == set()
    assert copied(keep=True) == {"hidden", "arrived0"}


def test_packed_input_may_change_too() -> None:
    """The rows of a packed sequence written over after the backward pass leave the record as it was."""
    layer, sequences = make_layer("lstm", 3, 8), [torch.randn(length, 3) for length in (5, 3)]

    def recorded(*, overwrite: bool) -> gradscope.Trajectory:
        packed = pack_sequence(sequences)
        with gradscope.watch(layer, schedule=1) as recorder:
            output, _ = layer(packed)
            output.data.sum().backward()
            if overwrite:
                _overwrite(packed.data, output.data)
            return recorder.latest["l0"]

    left_alone, written_over = recorded(overwrite=False), recorded(overwrite=True)
    assert torch.equal(left_alone.total_gradient, written_over.total_gradient)
    assert torch.equal(left_alone.hidden, written_over.hidden)


def test_calls_of_one_layer_do_not_share_their_copies() -> None:
    """A layer that is called five times before one backward pass keeps five different inputs apart."""
    torch.manual_seed(0)
    layer = nn.LSTM(3, 8)
    batches = [torch.randn(6, 2, 3) for _ in range(5)]
    with gradscope.watch(layer, schedule=1) as recorder:
        sum(layer(batch)[0].sum() for batch in batches).backward()
        last = recorder.latest["l0"]
    zero = torch.zeros(2, 8)
    truth = unroll(layer, batches[-1], lambda sequence, *_: sequence.sum(), zero, zero)
    torch.testing.assert_close(last.total_gradient.double(), truth.total_gradient, rtol=1e-4, atol=1e-6)


def test_a_second_backward_pass_leaves_the_first_as_it_was(tmp_path: Path) -> None:
    """It writes into the memory that an LSTM's kernel keeps, before the first one is worked out."""
    torch.manual_seed(0)
    layer, batch = nn.LSTM(3, 8), torch.randn(6, 2, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    with gradscope.watch(layer, optimizer, schedule=1, run=tmp_path / "run"):
        for _ in range(3):
            output, _ = layer(batch)
            output.sum().backward(retain_graph=True)
            (3 * output).sum().backward()
            optimizer.step()
    table = gradscope.open_run(tmp_path / "run").timesteps.pivot(index=["iteration", "time"], columns="call")
    for column in ("total_gradient_norm", "cell_gradient_norm", "weight_gradient_norm"):
        np.testing.assert_allclose(table[column][1], 3 * table[column][0], rtol=1e-5)


def test_every_call_of_one_backward_pass_is_written_as_it_was(tmp_path: Path) -> None:
    """The rows of five calls of one layer are those of five recordings of a single call each."""
    torch.manual_seed(0)
    layer, batches = nn.GRU(3, 8), [torch.randn(6, 2, 3) for _ in range(5)]
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.0)
    with gradscope.watch(layer, optimizer, schedule=1, run=tmp_path / "together"):
        sum(layer(batch)[0].sum() for batch in batches).backward()
        optimizer.step()
    with gradscope.watch(layer, optimizer, schedule=1, run=tmp_path / "one-by-one"):
        for batch in batches:
            layer(batch)[0].sum().backward()
            optimizer.step()
    together = gradscope.open_run(tmp_path / "together").timesteps.sort_values(["call", "time"])
    single = gradscope.open_run(tmp_path / "one-by-one").timesteps.sort_values(["iteration", "time"])
    assert together["call"].tolist() == single["iteration"].tolist()
    assert together["total_gradient_norm"].tolist() == single["total_gradient_norm"].tolist()
    assert together["hidden_norm"].tolist() == single["hidden_norm"].tolist()


def _watched_for_the_first_job(monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    begun = threading.Event()
    add_pass = Collector.add_pass

    def note(*arguments: Any) -> None:
        begun.set()
        add_pass(*arguments)

    monkeypatch.setattr(Collector, "add_pass", note)
    return begun


@pytest.mark.parametrize("next_is_recorded", [True, False])
def test_jobs_begin_where_a_kernel_computes(monkeypatch: pytest.MonkeyPatch, next_is_recorded: bool) -> None:
    """Where the next iteration is recorded too, not beside its Python code, but when its layer computes."""
    begun = _watched_for_the_first_job(monkeypatch)
    layer, batch = nn.GRU(3, 32), torch.randn(40, 8, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with gradscope.watch(layer, optimizer, schedule=gradscope.At([0, 1] if next_is_recorded else [0])):
        layer(batch)[0].sum().backward()
        optimizer.step()
        assert begun.wait(0.05 if next_is_recorded else 10) != next_is_recorded
        layer(batch)
        assert begun.wait(10)


def test_jobs_do_not_wait_for_the_end_of_an_evaluation(monkeypatch: pytest.MonkeyPatch) -> None:
    """Between two recorded iterations a user may evaluate for long: what was recorded is worked out all the same."""
    begun = _watched_for_the_first_job(monkeypatch)
    layer, batch = nn.GRU(3, 32), torch.randn(40, 8, 3)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    with gradscope.watch(layer, optimizer, schedule=1):
        layer(batch)[0].sum().backward()
        optimizer.step()
        assert not begun.wait(0.05)
        with torch.no_grad():
            layer(batch)
        assert begun.wait(10)

"""Recording where nobody may look at a value, with PyTorch's "meta" device in place of a GPU.

Its tensors have shapes and no values: whatever would wait for a GPU to know one, and most of what takes tensors of two
devices, is an error there. A recorder says such an error, and `unexpected_warnings` fails the test by it.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import PackedSequence

import gradscope
from gradscope.instrument import recorder
from gradscope.instrument.devices import computing_device
from gradscope.instrument.nonfinite import _all_finite
from gradscope.instrument.parameters import ParameterChanges
from gradscope.instrument.recording.pass_rows import PassRecord
from gradscope.instrument.recording.sink import Sink
from tests.strategies import KINDS, make_layer

if TYPE_CHECKING:
    from gradscope.instrument.recording.newest import NumberedPass

Loss = Callable[[nn.Module, gradscope.Recorder], Tensor]


def _trained(model: nn.Module, loss: Loss, monkeypatch: pytest.MonkeyPatch, **options: object) -> None:
    """Record two iterations, and look at all that would wait to be written."""
    passes: list[NumberedPass] = []
    monkeypatch.setattr(Sink, "add_pass", lambda _, numbered: passes.append(numbered))
    # The device of jobs alone, which is asked for its autocast, and the meta device has none.
    monkeypatch.setattr(recorder, "computing_device", lambda _: torch.device("cuda"))
    model.to("meta")
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with gradscope.watch(model, optimizer, schedule=1, **options) as watching:
        for _ in range(2):
            optimizer.zero_grad()
            loss(model, watching).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
        found = watching.latest
    assert len(passes) == 2 * len(found) > 0
    for numbered in passes:
        summary = numbered.made.summary.unscaled(torch.empty((), device="meta"))
        assert summary.nonfinite.is_meta
        assert _all_finite(PassRecord(numbered.made.layer, numbered.iteration, numbered.call, summary)).is_meta
    assert all(trajectory.total_gradient.is_meta for trajectory in found.values())


def _of_sequence(model: nn.Module, _: gradscope.Recorder) -> Tensor:
    output, final = model(torch.empty(7, 4, 3, device="meta"))
    return output.square().mean() + sum(state.sum() for state in (final if isinstance(final, tuple) else (final,)))


def _of_packed(model: nn.Module, _: gradscope.Recorder) -> Tensor:
    sizes = torch.tensor([4, 4, 2, 1])
    order = torch.empty(4, dtype=torch.int64, device="meta")
    output, _final = model(PackedSequence(torch.empty(11, 3, device="meta"), sizes, order, order))
    return output.data.square().mean()


@pytest.mark.parametrize("exact", ["bitwise", "rounding"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "dropout": 0.3, "bidirectional": True}, {"bias": False}])
@pytest.mark.parametrize("loss", [_of_sequence, _of_packed])
@pytest.mark.parametrize("kind", KINDS)
def test_fused_layers(
    kind: str, loss: Loss, options: dict[str, object], exact: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sweep, or zero inputs, of dense and packed sequences: no value is looked at while the training goes on."""
    _trained(make_layer(kind, 3, 5, **options), loss, monkeypatch, exact=exact, also=["unit-norms", "micro-batches"])


@pytest.mark.parametrize("cell", [nn.RNNCell, nn.GRUCell, nn.LSTMCell])
def test_loops_that_are_cut(cell: type[nn.Module], monkeypatch: pytest.MonkeyPatch) -> None:
    """So in a loop over a cell, of which some links are cut and others change the state."""

    def loss(model: nn.Module, _: gradscope.Recorder) -> Tensor:
        state, last = None, None
        for time, x in enumerate(torch.empty(6, 4, 3, device="meta")):
            state = model(x, state)
            last = state[0] if isinstance(state, tuple) else state
            if time == 2:
                state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        return last.square().mean()

    _trained(cell(3, 5), loss, monkeypatch)


def test_taps_in_any_order(monkeypatch: pytest.MonkeyPatch) -> None:
    """So of taps, whose times the CPU knows."""

    def loss(model: nn.Module, watching: gradscope.Recorder) -> Tensor:
        h = torch.zeros(4, 5, device="meta")
        for time in reversed(range(6)):
            h = watching.tap("decoder", torch.tanh(model(h)), time=time)
        return h.sum()

    _trained(nn.Linear(5, 5), loss, monkeypatch)


@pytest.mark.parametrize("order", [1, -1])
def test_parameters_on_two_devices(order: int) -> None:
    """A model may have some of its parameters on the CPU, be they the first: all numbers are on the other device."""
    values = [torch.ones(3, 4), torch.empty(5, device="meta")][::order]
    rows = ParameterChanges(["a", "b"], values, values, values, values).measured()
    assert rows.columns.is_meta
    assert rows.clip.is_meta


def test_a_gpu_is_where_a_model_computes() -> None:
    """Jobs of a model whose first parameters only are on the CPU go to no thread: they would be on another stream."""

    class Placed(nn.Module):
        def __init__(self, *devices: str) -> None:
            super().__init__()
            self.parts = [_On(torch.device(device)) for device in devices]

        def parameters(self, **_: bool) -> list["_On"]:
            return self.parts

    assert computing_device(Placed("cpu", "cuda:1", "cuda:0")) == torch.device("cuda:1")
    assert computing_device(Placed("cpu", "cpu")) == torch.device("cpu")


class _On:
    def __init__(self, device: torch.device) -> None:
        self.device = device

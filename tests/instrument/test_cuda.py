"""The same exactness where cuDNN runs the whole sequence in one kernel, and no wait for the device in any hook."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

import gradscope
from tests.instrument.test_exactness import TOLERANCE, assert_equal
from tests.instrument.training import assert_identical, make_model, norm_clipping
from tests.oracles import unroll
from tests.strategies import KINDS, LOSSES, Case

Loss = Callable[[], Tensor]
Make = Callable[[Tensor], tuple[nn.Module, Loss]]

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.filterwarnings("ignore:Synchronization debug mode is a prototype feature"),
]


@pytest.fixture(autouse=True)
def _without_tf32(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """TF32 keeps 10 bits of a float32's 23: the kernel itself would be further from the truth than any tolerance."""
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", False)
    # Without `enabled` these flags turn cuDNN off.
    with torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        yield


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("loss_name", sorted(LOSSES))
@pytest.mark.parametrize("kind", KINDS)
def test_cudnn_equals_the_unrolled_float64_loop(kind: str, loss_name: str, dtype: torch.dtype) -> None:
    """With cuDNN's opaque kernels every quantity equals the float64 oracle's, which runs on the CPU."""
    case = Case(kind, 12, 5, 4, 7, dtype, "batch first", True, True, loss_name, 3)
    module, loss = case.module, case.loss
    truth = unroll(module, *_oracle_arguments(case))
    inputs, h_0, c_0 = (None if t is None else t.cuda() for t in case.batch_of_data())
    module = module.cuda()
    with gradscope.watch(module, schedule=1) as recorder:
        states = h_0[None] if c_0 is None else (h_0[None], c_0[None])
        sequence, final = module(inputs.transpose(0, 1), states)
        h_n, c_n = (final[0][0], final[1][0]) if c_0 is not None else (final[0], None)
        loss(sequence.transpose(0, 1).cpu(), h_n.cpu(), None if c_n is None else c_n.cpu()).backward()
        (trajectory,) = recorder.latest.values()
    moved = {name: value.cpu() for name, value in vars(trajectory).items() if isinstance(value, Tensor)}
    gates = {name: gate.cpu() for name, gate in trajectory.gates.items()}
    assert_equal(replace(trajectory, **moved, gates=gates), truth, TOLERANCE[dtype])


def _oracle_arguments(case: Case) -> tuple[Tensor, object, Tensor, Tensor | None]:
    inputs, h_0, c_0 = case.batch_of_data()
    return inputs, case.loss, h_0, c_0


@pytest.mark.parametrize("kind", KINDS)
def test_no_hook_waits_for_the_device(kind: str, tmp_path: Path) -> None:
    """Recorded iterations run under PyTorch's own check for synchronisations, and leave the training as it was."""

    def train(run: Path | None) -> list[Tensor]:
        model = make_model(kind).cuda()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
        batches = [torch.randn(4, 12, 3, generator=torch.Generator().manual_seed(i)).cuda() for i in range(5)]
        recorder = gradscope.watch(model, optimizer, run=run, schedule=1) if run else None
        for number, batch in enumerate(batches):
            if recorder is not None and number > 0:
                recorder._collector._sink._next_flush = float("inf")  # a flush may wait: it is no hook's work
                torch.cuda.set_sync_debug_mode("error")
            try:
                optimizer.zero_grad()
                model(batch).square().mean().backward()
                norm_clipping(model)
                optimizer.step()
            finally:
                torch.cuda.set_sync_debug_mode("default")
        if recorder is not None:
            recorder.close()
        return [parameter.detach().cpu() for parameter in model.parameters()]

    assert_identical(train(tmp_path / "run"), train(None))
    assert len(gradscope.open_run(tmp_path / "run").iterations) == 5


def _stack(inputs: Tensor) -> tuple[nn.Module, Loss]:
    module = nn.LSTM(3, 8, num_layers=2, bidirectional=True)
    return module, lambda: module(inputs)[0].square().mean()


def _packed(inputs: Tensor) -> tuple[nn.Module, Loss]:
    module = nn.GRU(3, 8)
    packed = pack_sequence([inputs[:length, number] for number, length in enumerate((12, 5, 9, 1))], False)
    return module, lambda: module(packed)[0].data.square().mean()


def _cut_loop(inputs: Tensor) -> tuple[nn.Module, Loss]:
    cell = nn.LSTMCell(3, 8)

    def loss() -> Tensor:
        state, found = None, []
        for time, x in enumerate(inputs):
            state = cell(x, state)
            found.append(state[0])
            if time == 5:
                state = tuple(part.detach() for part in state)
        return torch.stack(found).square().mean()

    return cell, loss


@pytest.mark.parametrize("exact", ["bitwise", "rounding"])
@pytest.mark.parametrize("make", [_stack, _packed, _cut_loop])
def test_tables_are_those_of_the_cpu(
    make: Callable[[Tensor], tuple[nn.Module, Loss]], exact: str, tmp_path: Path
) -> None:
    """Whatever runs on a GPU, without a wait in any hook, leaves what the same on the CPU leaves."""

    def train(device: str) -> gradscope.Run:
        torch.manual_seed(0)
        model, loss = make(torch.randn(12, 4, 3, dtype=torch.float64).to(device))
        model.to(device, torch.float64)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        with gradscope.watch(model, optimizer, run=tmp_path / device, schedule=1, exact=exact) as recorder:
            for number in range(3):
                if number and device == "cuda":
                    recorder._collector._sink._next_flush = float("inf")
                    torch.cuda.set_sync_debug_mode("error")
                try:
                    optimizer.zero_grad()
                    loss().backward()
                    optimizer.step()
                finally:
                    if device == "cuda":
                        torch.cuda.set_sync_debug_mode("default")
        return gradscope.open_run(tmp_path / device)

    expected, got = train("cpu"), train("cuda")
    for name in ("timesteps", "gates", "parameters"):
        there, here = getattr(got, name), getattr(expected, name)
        assert len(there) == len(here)
        numbers = [torch.tensor(table.select_dtypes("number").to_numpy(dtype=float)) for table in (there, here)]
        torch.testing.assert_close(*numbers, rtol=1e-8, atol=1e-12, equal_nan=True)

"""The same exactness where cuDNN runs the whole sequence in one kernel, and no wait for the device in any hook."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gradscope
from tests.instrument.test_exactness import TOLERANCE, assert_equal
from tests.instrument.training import assert_identical, make_model, norm_clipping
from tests.oracles import unroll
from tests.strategies import KINDS, LOSSES, Case

pytestmark = pytest.mark.gpu


@pytest.fixture(autouse=True)
def _without_tf32() -> None:
    """TF32 keeps 10 bits of a float32's 23: the kernel itself would be further from the truth than any tolerance."""
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cuda.matmul.allow_tf32 = False


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
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            norm_clipping(model)
            optimizer.step()
            torch.cuda.set_sync_debug_mode("default")
        if recorder is not None:
            recorder.close()
        return [parameter.detach().cpu() for parameter in model.parameters()]

    with torch.backends.cudnn.flags(enabled=True, deterministic=True):
        assert_identical(train(tmp_path / "run"), train(None))
    assert len(gradscope.open_run(tmp_path / "run").iterations) == 5

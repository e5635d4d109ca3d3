"""A recorder that nobody closes leaves its run all the same."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import gradscope
from tests.instrument.training import make_model


def _batch(time: int = 7) -> Tensor:
    return torch.randn((4, time, 3), generator=torch.Generator().manual_seed(0))


def test_a_recorder_that_is_dropped_leaves_its_run(tmp_path: Path) -> None:
    """A training function that returns without closing its recorder loses nothing."""

    def training() -> None:
        model = make_model("gru")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        gradscope.watch(model, optimizer, run=tmp_path / "run", schedule=1)
        for _ in range(4):
            model(_batch()).sum().backward()
            optimizer.step()

    training()
    gc.collect()
    assert len(gradscope.open_run(tmp_path / "run").iterations) == 4


_NEVER_CLOSED = """
import sys, torch, gradscope
layer = torch.nn.GRU(2, 3)
optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
recorder = gradscope.watch(layer, optimizer, run=sys.argv[1], schedule=1)
for _ in range(5):
    layer(torch.randn(4, 2, 2))[0].sum().backward()
    optimizer.step()
"""


@pytest.mark.parametrize(("end", "complete"), [("", True), ("raise RuntimeError", False)])
def test_a_script_that_never_closes_still_leaves_its_run(end: str, complete: bool, tmp_path: Path) -> None:
    """All that was recorded is written when the process ends; after an uncaught exception the run is not complete."""
    ended = subprocess.run(
        [sys.executable, "-c", _NEVER_CLOSED + end, str(tmp_path / "run")], stderr=subprocess.DEVNULL, timeout=100
    )
    assert ended.returncode == (0 if complete else 1)
    run = gradscope.open_run(tmp_path / "run")
    assert run.complete == complete
    assert len(run.iterations) == 5

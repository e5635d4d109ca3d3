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


def test_an_error_of_long_ago_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A mistake made in a notebook before the training began: the run is whole."""
    monkeypatch.setattr(sys, "last_value", ValueError("an earlier cell"), raising=False)
    recorder = gradscope.watch(torch.nn.GRU(2, 3), run=tmp_path / "run", schedule=1)
    del recorder
    gc.collect()
    assert gradscope.open_run(tmp_path / "run").complete


_COLLECTED_INSIDE_SUBMIT = """
import faulthandler, gc, sys, torch, gradscope
from concurrent import futures
faulthandler.dump_traceback_later(60, exit=True)
def training():
    layer = torch.nn.LSTM(16, 64)
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.1)
    recorder = gradscope.watch(layer, optimizer, run=sys.argv[1], schedule=1)
    for _ in range(4):
        layer(torch.randn(20, 16, 16))[0].square().sum().backward()
        optimizer.step()
    layer(torch.randn(20, 16, 16))[0].square().sum().backward()
    circle = [recorder]
    circle.append(circle)
gc.disable()
training()
class Collecting(futures.Future):
    def __init__(self):
        super().__init__()
        gc.collect()
futures.thread._base.Future = Collecting
with futures.ThreadPoolExecutor(1) as pool:
    print(pool.submit(lambda: "done").result())
"""


@pytest.mark.slow
def test_python_may_collect_a_recorder_anywhere(tmp_path: Path) -> None:
    """Inside another executor's `submit` too, under a lock of all executors: nothing waits for ever."""
    words = [sys.executable, "-c", _COLLECTED_INSIDE_SUBMIT, str(tmp_path / "run")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=100)
    assert done.stdout == "done\n", done.stderr
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

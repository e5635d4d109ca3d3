"""A real training process, killed with SIGKILL in the middle."""

import multiprocessing
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

import gradscope
from gradscope.instrument.recording import sink


def _train(folder: Path) -> None:
    sink._FLUSH_SECONDS = 0.0  # a flush each iteration: the kill falls into one as often as possible
    torch.set_num_threads(1)
    layer = torch.nn.LSTM(3, 8)
    optimizer = torch.optim.Adam(layer.parameters())
    with gradscope.watch(layer, optimizer, run=folder, schedule=1, keep="full") as recorder:
        while True:
            optimizer.zero_grad()
            loss = layer(torch.randn(20, 4, 3))[0].square().mean()
            loss.backward()
            recorder.log(loss=loss)
            optimizer.step()


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(5))
def test_a_killed_training_leaves_a_readable_run(attempt: int, tmp_path: Path) -> None:
    """Whatever the moment, all tables end with the same iteration, and the run is not called complete."""
    folder = tmp_path / "run"
    # A process of its own, which has not to import torch again each time.
    context = multiprocessing.get_context("forkserver" if sys.platform == "linux" else "spawn")
    context.set_forkserver_preload(["torch._dynamo", "gradscope.instrument"])
    process = context.Process(target=_train, args=(folder,))
    process.start()
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("iterations-*.parquet")):
            assert process.is_alive()
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.5))
    finally:
        process.kill()
        process.join()
    assert process.exitcode == -signal.SIGKILL
    run = gradscope.open_run(folder)
    recorded = list(range(len(run.iterations)))
    assert recorded != []
    assert not run.complete
    assert run.iterations["iteration"].tolist() == recorded
    assert run.iterations["loss"].notna().all()
    for table in (run.timesteps, run.gates, run.parameters):
        assert sorted(table["iteration"].unique()) == recorded
    assert len(run.timesteps) == 20 * len(recorded)
    assert run.states("l0", recorded[-1]).shape == (20, 4, 8)

"""A real training process, killed with SIGKILL in the middle."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import gradscope

_TRAINING = """
import sys, torch, gradscope
from gradscope.instrument import sink
sink._FLUSH_SECONDS = 0.0  # a flush each iteration: the kill falls into one as often as possible
torch.set_num_threads(1)
layer = torch.nn.LSTM(3, 8)
optimizer = torch.optim.Adam(layer.parameters())
with gradscope.watch(layer, optimizer, run=sys.argv[1], schedule=1, keep="full") as recorder:
    while True:
        optimizer.zero_grad()
        loss = layer(torch.randn(20, 4, 3))[0].square().mean()
        loss.backward()
        recorder.log(loss=loss)
        optimizer.step()
"""


@pytest.mark.slow
@pytest.mark.parametrize("attempt", range(5))
def test_a_killed_training_leaves_a_readable_run(attempt: int, tmp_path: Path) -> None:
    """Whatever the moment, all tables end with the same iteration, and the run is not called complete."""
    folder = tmp_path / "run"
    process = subprocess.Popen([sys.executable, "-c", _TRAINING, str(folder)])
    try:
        deadline = time.monotonic() + 60
        while not list(folder.glob("iterations-*.parquet")):
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        time.sleep(random.uniform(0, 0.5))
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
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

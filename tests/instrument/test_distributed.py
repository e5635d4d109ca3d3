"""Two processes under DistributedDataParallel, really started: one run, a part of it from each."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, distributed

import gradscope
from tests.instrument.ddp_process import ITERATIONS, batch, loss_of, model
from tests.instrument.training import assert_identical
from tests.oracles import unroll

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("distributed")]

WAYS = ("plain", "gradient_as_bucket_view", "find_unused_parameters")
RANKS = (0, 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that two processes have trained into; they meet at a port that this one holds open."""
    folder = tmp_path_factory.mktemp("distributed")
    store = distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "tests.instrument.ddp_process"]
    root = Path(__file__).parents[2]
    processes = [
        subprocess.Popen(
            [*command, str(rank), str(store.port), str(folder)],
            cwd=root,
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in RANKS
    ]
    try:
        said = [process.communicate(timeout=100)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0], said
    return folder


@pytest.mark.parametrize("watched", ["wrapper", "inside"])
@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rank", RANKS)
def test_training_is_bit_identical(rank: int, way: str, watched: str, trained: Path) -> None:
    """Each process ends with the parameters of the training that nobody watched."""
    parameters = torch.load(trained / f"{way}-{rank}.pt")
    assert_identical(parameters[watched], parameters["nothing"])


@pytest.mark.parametrize("watched", ["wrapper", "inside"])
def test_every_process_leaves_its_own_part(watched: str, trained: Path) -> None:
    """One folder, both ranks whole in it; without a rank it is that of rank 0; names are those of one process."""
    folder = trained / f"plain-{watched}"
    runs = [gradscope.open_run(folder, rank=rank) for rank in RANKS]
    assert [(run.rank, run.ranks, run.complete) for run in runs] == [(0, RANKS, True), (1, RANKS, True)]
    assert gradscope.open_run(folder).rank == 0
    for run in runs:
        assert run.layers == ["encoder.l0"]
        assert run.iterations["iteration"].tolist() == list(range(ITERATIONS))
        assert len(run.timesteps) == 7 * ITERATIONS
        assert run.metadata["ranks"] == 2
    with pytest.raises(gradscope.UsageError, match=r"has no rank 2; it has: 0, 1\."):
        gradscope.open_run(folder, rank=2)


@pytest.mark.parametrize("rank", RANKS)
def test_gradients_through_time_are_of_the_own_loss(rank: int, trained: Path) -> None:
    """The total gradient of a process is that of its own batch, as a float64 loop has it."""
    net = model()
    head = net.head.double()
    state = torch.zeros(4, 8)
    truth = unroll(net.encoder, batch(rank, 0).transpose(0, 1), lambda h, *_: loss_of(head(h[-1])), state, state)
    run = gradscope.open_run(trained / "plain-wrapper", rank=rank)
    total = run.states("encoder.l0", 0, quantity="total_gradient")
    np.testing.assert_allclose(total, truth.total_gradient, rtol=1e-5, atol=1e-9)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("rank", RANKS)
def test_gradients_of_parameters_are_the_average(rank: int, way: str, trained: Path) -> None:
    """What stands for the parameters is the mean over both processes, and only clipping lies after it."""
    net = model()
    sum(loss_of(net(batch(one, 0))) / 2 for one in RANKS).backward()
    norm = _norm([parameter.grad for parameter in net.parameters()])
    first = gradscope.open_run(trained / f"{way}-wrapper", rank=rank).iterations.iloc[0]
    assert first["gradient_norm"] == pytest.approx(norm, rel=1e-5)
    assert first["clipped_gradient_norm"] == pytest.approx(0.01, rel=1e-3)
    assert first["clip_cosine"] == pytest.approx(1, rel=1e-6)


def _norm(gradients: list[Tensor]) -> float:
    return torch.stack([gradient.norm() for gradient in gradients]).norm().item()


def test_one_process_may_watch_alone(trained: Path) -> None:
    """Nobody waits for a process that does not watch."""
    run = gradscope.open_run(trained / "only-one")
    assert (run.rank, run.ranks, len(run.iterations)) == (1, (1,), ITERATIONS)


def test_both_replace_a_run_when_asked(trained: Path) -> None:
    """Of the run that was replaced nothing is left, of neither process."""
    runs = [gradscope.open_run(trained / "again", rank=rank) for rank in RANKS]
    assert [run.metadata["user"] for run in runs] == [{"attempt": 2}, {"attempt": 2}]
    assert len(list((trained / "again").iterdir())) == 2


def test_a_run_of_before_is_refused_in_every_process(trained: Path) -> None:
    """Whoever comes first finds it, and all say the same."""
    said = [(trained / f"refusal-{rank}.txt").read_text(encoding="utf-8") for rank in RANKS]
    assert ["overwrite=True" in one for one in said] == [True, True]
    assert said[0] == said[1]

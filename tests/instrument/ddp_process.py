"""One of two processes that train together; `test_distributed` starts both: python -m ... RANK PORT FOLDER."""

import sys
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

import gradscope
from tests.instrument.conftest import Forecaster
from tests.strategies import make_layer

ITERATIONS = 5


def model() -> Forecaster:
    """Return the model as it is before training, the same in every process."""
    torch.manual_seed(0)
    return Forecaster(make_layer("lstm", 3, 8, batch_first=True))


def batch(rank: int, iteration: int) -> Tensor:
    """Return what one process trains on."""
    return torch.randn((4, 7, 3), generator=torch.Generator().manual_seed(100 * rank + iteration))


def loss_of(predicted: Tensor) -> Tensor:
    """Return the loss of one process."""
    return (predicted - 1).square().mean()


def train(rank: int, watched: str, run: Path | None = None, **options: bool) -> list[Tensor]:
    """Return the parameters after training: `watched` is the "wrapper", the module "inside", or "nothing"."""
    inside = model()
    wrapped = DistributedDataParallel(inside, **options)
    optimizer = torch.optim.Adam(wrapped.parameters(), lr=0.01)
    target = {"wrapper": wrapped, "inside": inside}.get(watched)
    watching = nullcontext() if target is None else gradscope.watch(target, optimizer, run=run, schedule=1, keep="full")
    with watching as recorder:
        for iteration in range(ITERATIONS):
            optimizer.zero_grad()
            loss = loss_of(wrapped(batch(rank, iteration)))
            loss.backward()
            nn.utils.clip_grad_norm_(wrapped.parameters(), 0.01)
            if recorder is not None:
                recorder.log(loss=loss)
            optimizer.step()
    return [parameter.detach() for parameter in wrapped.parameters()]


def refusal(run: Path) -> str:
    """Return what a second watch on a folder says."""
    try:
        gradscope.watch(model(), run=run)
    except gradscope.RunError as error:
        return str(error)
    return ""


def main(rank: int, port: int, folder: Path) -> None:
    """Train several times in a group of two, and leave the parameters in the folder."""
    torch.set_num_threads(1)
    store = distributed.TCPStore("127.0.0.1", port, 2, is_master=False)
    distributed.init_process_group("gloo", store=store, rank=rank, world_size=2)
    for options in ({}, {"gradient_as_bucket_view": True}, {"find_unused_parameters": True}):
        name = "-".join(options) or "plain"
        trained = {
            watched: train(rank, watched, folder / f"{name}-{watched}", **options)
            for watched in ("nothing", "wrapper", "inside")
        }
        torch.save(trained, folder / f"{name}-{rank}.pt")
    train(rank, "inside" if rank == 1 else "nothing", folder / "only-one")
    (folder / f"refusal-{rank}.txt").write_text(refusal(folder / "plain-inside"), encoding="utf-8")
    for attempt in (1, 2):
        gradscope.watch(model(), run=folder / "again", overwrite=attempt > 1, metadata={"attempt": attempt}).close()
        distributed.barrier()
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))

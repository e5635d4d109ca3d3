"""How long an iteration takes with another tool, and whether the tool sees the total gradient of every time."""

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from statistics import median

import torch
from jaxtyping import Float
from torch import Tensor

from gradscope.instrument.overhead.peers import PEERS, CellLoop, Peer
from gradscope.instrument.overhead.trainings import Size, Training, turns

TOTAL, DIRECT, NOTHING = "total gradient", "direct gradient only", "nothing per time"
_CLOSE = 1e-3
_WARM_UP = 2


@dataclass(frozen=True)
class PeerRow:
    """One tool.

    Attributes:
        title: what it is called.
        cell: RNN, GRU or LSTM.
        size: of the batch and the module.
        ratio: median time of an iteration to that of the bare one beside it; None if it could not be run.
        sees: of the first layer: `TOTAL`, `DIRECT`, `NOTHING`; or why it could not be run.
        records: how many tensors it left of one iteration.
    """

    title: str
    cell: str
    size: str
    ratio: float | None
    sees: str
    records: int = 0


@dataclass(frozen=True)
class _Truth:
    total: Float[Tensor, "time batch hidden"]
    direct: Float[Tensor, "time batch hidden"]

    def says(self, seen: Mapping[str, Tensor]) -> str:
        """Return what of it is among the tensors that a tool has left."""
        for word, wanted in ((TOTAL, self.total), (DIRECT, self.direct)):
            norms = wanted.norm(dim=2).mean(1)
            if any(_equal(values, wanted) or _equal(values, norms) for values in seen.values()):
                return word
        return NOTHING


def _equal(values: Tensor, wanted: Tensor) -> bool:
    if values.shape != wanted.shape:
        return False
    return bool((values.to(wanted) - wanted).norm() <= _CLOSE * wanted.norm())


def _truth(cell: str, size: Size, device: torch.device) -> _Truth:
    loop = CellLoop(cell, size, device, torch.float64, copies=True)
    loop.backward()
    return _Truth(loop.seen()["h.grad"], loop.direct())


def compare(
    cells: Sequence[str], sizes: Sequence[Size], count: int, device: str, tick: Callable[[], None] = lambda: None
) -> Iterator[PeerRow]:
    """Time each tool that is installed against the bare training of the same fused module, in turns.

    Args:
        cells: RNN, GRU or LSTM.
        sizes: of the batch and the module.
        count: pairs of iterations for each tool.
        device: where to train.
        tick: called when a tool is done.

    Yields:
        A row for each tool, cell and size.
    """
    for kind in PEERS:
        for size in sizes:
            for cell in cells:
                yield _row(kind, cell, size, count, torch.device(device))
                tick()


def _row(kind: type[Peer], cell: str, size: Size, count: int, device: torch.device) -> PeerRow:
    if not kind.is_installed():
        return PeerRow(kind.title, cell, str(size), None, f"not installed: pip install {kind.package}")
    truth = _truth(cell, size, device)
    bare = Training(cell, size, device)
    before = [bare.turn().seconds for _ in range(_WARM_UP + count)][_WARM_UP:] if kind.slows_all else []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with closing(kind(cell, size, device)) as peer:
                # What a GPU rounds to 10 bits by default is further from the truth than what is asked here.
                with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
                    peer.iteration()
                    seen = peer.seen()
                pairs = list(turns(bare, peer, count, _WARM_UP, lambda: None))
    except Exception as error:  # noqa: BLE001 - another tool's trouble is a line in the table
        why = str(error).partition("\n")[0]
        return PeerRow(kind.title, cell, str(size), None, f"failed: {type(error).__name__}: {why}")
    beside = [median(before)] * count if before else [alone.seconds for alone, _ in pairs]
    ratio = median(other.seconds / alone for (_, other), alone in zip(pairs, beside, strict=True))
    return PeerRow(kind.title, cell, str(size), ratio, truth.says(seen), len(seen))

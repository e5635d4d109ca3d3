"""Nothing piles up while a training is watched."""

import gc
import platform
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import gradscope
from gradscope.cells import step_functions
from gradscope.instrument.recording import sink
from tests.instrument.watched_trainings import MODELS, OwnCell, Training, own_step


@pytest.fixture(autouse=True)
def _own_cell_is_registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """For these tests alone."""
    monkeypatch.setattr(step_functions, "_STEP_FUNCTIONS", dict(step_functions._STEP_FUNCTIONS))
    gradscope.register_cell(OwnCell, own_step)


def _alive() -> tuple[int, int]:
    """Objects that Python's collector knows, and elements of all tensors among them."""
    gc.collect()
    objects = gc.get_objects()
    return len(objects), sum(one.numel() for one in objects if issubclass(type(one), torch.Tensor))


@pytest.mark.parametrize("kind", MODELS)
def test_as_much_is_alive_later_as_early(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not one object an iteration is left, nor a number of any tensor, once rows are written."""
    monkeypatch.setattr(sink, "_FLUSH_SECONDS", 0.0)
    training, more = Training(kind), 30
    with training.watch(run=tmp_path / "run") as recorder:
        # One at a time: how much memory is in use at once would depend on how far the training is ahead.
        for _ in range(5):
            training.iteration(recorder)
            recorder.wait()
        objects, elements = _alive()
        for _ in range(more):
            training.iteration(recorder)
            recorder.wait()
        objects_later, elements_later = _alive()
    assert objects_later - objects < more
    assert elements_later == elements


_BLOCKS_OF_THEIR_OWN = """
import ctypes, torch, gradscope
class Counts(ctypes.Structure):
    _fields_ = [(str(position), ctypes.c_size_t) for position in range(10)]  # hblks, of blocks by mmap, is the fourth
counts = ctypes.CDLL("libc.so.6").mallinfo2
counts.restype = Counts
def mapped():
    before = getattr(counts(), "3")
    block = torch.empty(24 * 2**20, dtype=torch.uint8)
    held.append(block)  # What is freed would teach glibc by itself.
    return getattr(counts(), "3") - before
held = []
print(mapped())
with gradscope.watch(torch.nn.LSTM(2, 2)):
    print(mapped())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="it is glibc that gives memory back")
def test_freed_memory_is_kept_by_the_process() -> None:
    """A block of 24 MB, for which glibc would map pages that go when it is freed, comes out of its heap."""
    done = subprocess.run([sys.executable, "-c", _BLOCKS_OF_THEIR_OWN], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "0"]

"""Working out what was recorded, beside the training.

In a hook only what training is about to change is copied. Norms, sweeps and writing are jobs: on CPU a thread takes
them, in order, while the training goes on; PyTorch lets go of Python's lock in every operation. On a GPU a job would
only enqueue kernels, and on another stream than the user's: there each runs at once.
"""

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from threadpoolctl import threadpool_limits

_LARGE_BLOCK = 31 * 2**20
_MOST_HELD = 16
_MOST_BEGUN, _MOST_BYTES = 16, 32 * 2**20
"""How many times `begin` may be ahead of the thread, and by how much memory, so that a training goes on while rows are
written."""
Job = Callable[[], None]


_ALIVE: "weakref.WeakSet[Worker]" = weakref.WeakSet()


def _join_all() -> None:
    for worker in list(_ALIVE):
        worker.join()


if hasattr(os, "register_at_fork"):
    # A DataLoader forks its workers: a lock that a job held at that moment would stay locked in the child for ever.
    os.register_at_fork(before=_join_all)


def _use_one_processor() -> None:
    # Left alone, a new thread's matrix products would share the processors that the training computes on. OpenMP keeps
    # this number for each thread: the training's own stays. PyTorch sets it on first use, which has to come before.
    torch.get_num_threads()
    threadpool_limits(1, user_api="openmp")


@cache
def _keep_freed_memory() -> None:
    # glibc hands memory back that is free at its heap's end, above twice the largest block that was ever freed, up to
    # 32 MB. What waits for the thread is freed in ever another order: pages went and came again, 400 to 1,900 in a
    # recorded iteration of an LSTM whose sequences have 1.6 MB, a fifth of its time. A block that nobody touches is
    # enough for up to 64 MB to stay; where memory comes from elsewhere than glibc it changes nothing.
    torch.empty(_LARGE_BLOCK, dtype=torch.uint8, device="cpu")


class Worker:
    """Runs jobs one after the other. After one that fails no other runs.

    Args:
        device: where the training computes.

    Attributes:
        seconds: that jobs took in the thread so far.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device.type
        self._executor = ThreadPoolExecutor(1, "gradscope", _use_one_processor) if self._device == "cpu" else None
        if self._executor is not None:
            _keep_freed_memory()
        self._held: list[Job] = []
        self._held_bytes = 0
        self._begun: deque[tuple[Future[None], int]] = deque()
        self._thread: int | None = None
        self._failed = False
        self._error: Exception | None = None
        self._process = os.getpid()
        self.seconds = 0.0
        _ALIVE.add(self)

    @property
    def is_of_this_process(self) -> bool:
        """Whether it was made here, and not before a fork: threads stay behind in the parent."""
        return os.getpid() == self._process

    def hand_in(self, job: Job, *, size: int | None = 0) -> None:
        """Have a job run; it must refer to nothing that training may change.

        Args:
            job: what to do.
            size: about how many bytes it holds; None if it is not worth the thread.

        Raises:
            RuntimeError: this is a fork of the process that watches: both would write the same files.
            Exception: what the job raised, where it ran at once.
        """
        if not self.is_of_this_process:
            raise RuntimeError(
                "this process was forked off the one that called gradscope.watch: call it in the process that trains"
            )
        if self._executor is None or size is None:
            self.join()
            self._run(job)
            self._raise()
            return
        self._held.append(job)
        self._held_bytes += size
        if len(self._held) > _MOST_HELD:
            self.begin()

    def begin(self) -> None:
        """Let the jobs that were handed in begin.

        Best called when the training is about to compute for long in one call of PyTorch's: beside its Python code, an
        optimiser's say, a thread would only wait for Python's lock with it.
        """
        if not self._held or self._executor is None:
            return
        jobs, self._held = self._held, []
        try:
            self._begun.append((self._executor.submit(self._run_in_thread, jobs), self._held_bytes))
            self._held_bytes = 0
        except RuntimeError:  # The interpreter is on its way out, and the thread has ended.
            for job in jobs:
                self._run(job)

    def make_room(self) -> None:
        """Return when not many jobs wait any more, and the copies that they hold in memory.

        Raises:
            Exception: what a job raised.
        """
        while self._begun and (self._begun[0][0].done() or self._is_full):
            self._begun.popleft()[0].result()
        self._raise()

    @property
    def _is_full(self) -> bool:
        return len(self._begun) >= _MOST_BEGUN or sum(size for _, size in self._begun) > _MOST_BYTES

    def wait(self) -> None:
        """Return when all jobs are done.

        Raises:
            Exception: what one of them raised.
        """
        self.join()
        self._raise()

    def join(self) -> None:
        """Return when all jobs are done, whether or not one of them failed."""
        self.begin()
        self._wait_for_begun()

    def _wait_for_begun(self) -> None:
        # Within the thread itself only if Python's collector dropped a recorder there: its jobs are in order anyway.
        while self._begun and self.is_of_this_process and self._thread != threading.get_ident():
            self._begun.popleft()[0].result()

    def run_here(self) -> None:
        """Run what is left, and what is handed in later, in this thread.

        For whoever is called by Python's collector: it may come in the middle of any executor's `submit`, which holds a
        lock of all executors, and another `submit` in the same thread would wait for that for ever.
        """
        executor, self._executor = self._executor, None
        self._wait_for_begun()
        jobs, self._held = self._held, []
        for job in jobs:
            self._run(job)
        del executor  # Its thread ends by itself once nobody holds it.

    def end(self) -> None:
        """Let the thread go."""
        self.join()
        if self._executor is not None and self._thread != threading.get_ident():
            self._executor.shutdown(wait=self.is_of_this_process)

    def _raise(self) -> None:
        error, self._error = self._error, None
        try:
            if error is not None:
                raise error
        finally:
            del error  # An error holds the frames that it went through, and with them whatever they refer to.

    def _run_in_thread(self, jobs: list[Job]) -> None:
        self._thread = threading.get_ident()
        while jobs:  # A job that is done is let go at once, with what it holds.
            started = time.perf_counter()
            self._run(jobs.pop(0))
            self.seconds += time.perf_counter() - started

    def _run(self, job: Job) -> None:
        if self._failed:
            return
        try:
            with torch.no_grad(), self._without_autocast():
                job()
        except Exception as error:  # noqa: BLE001 - it is raised where training waits for the jobs
            self._failed, self._error = True, error

    def _without_autocast(self) -> AbstractContextManager[object]:
        if torch.is_autocast_enabled(self._device):
            return torch.autocast(self._device, enabled=False)
        # The worker's thread is always without. Leaving the context there would empty the casts of the training's.
        return nullcontext()

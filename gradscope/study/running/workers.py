"""Where trials run: in this process, on a local Dask cluster, or on one that the user started."""

import contextlib
import logging
import os
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

from gradscope.errors import RunError
from gradscope.runs.places import Place
from gradscope.study.running.groups import groups_of
from gradscope.study.running.interrupts import interrupts_held, interrupts_ignored
from gradscope.study.running.local_cluster import local_cluster
from gradscope.study.spec.trial import Trial
from gradscope.study.training.attempt import attempt_trials, failure, finished_outcome, keep_outcome, one_line
from gradscope.study.training.outcome import Outcome

Job = tuple[Trial, Place]

_CONNECT_SECONDS = 10


def default_workers() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run_here(jobs: Sequence[Job]) -> Generator[list[Outcome], None, None]:
    """Run the trials one after the other in this process.

    Yields:
        The outcomes of trials that were trained together, as they end; mostly that of a single one.
    """
    for group in _grouped(jobs, 1):
        yield attempt_trials(group)


def run_on_cluster(
    jobs: Sequence[Job], workers: int, scheduler: str | None = None, say: Callable[[str], object] = lambda _: None
) -> Generator[list[Outcome], None, None]:
    """Run the trials in worker processes.

    A worker that dies is restarted by its nanny, and its trials are given out again; those that kill four workers have
    failed.

    Args:
        jobs: the trials and their folders, which the workers must be able to reach under the same path.
        workers: processes to start on this machine.
        scheduler: address of a running Dask scheduler; its workers are used and none is started.
        say: is told what the user should know before the first trial ends.

    Yields:
        The outcomes of trials that were trained together, as they end; mostly that of a single one.

    Raises:
        RunError: the scheduler cannot be reached, or is lost.
    """
    from distributed import as_completed

    with _client(workers, scheduler) as client:
        if not client.nthreads():
            say(f"{scheduler} has no workers yet: waiting for them. They are started with `dask worker {scheduler}`")
        # Of a cluster whose workers are still to come nobody knows how many there will be.
        at_once = workers if scheduler is None else sum(client.nthreads().values()) or default_workers()
        group_of = {
            client.submit(attempt_trials, group, key=f"trial-{group[0][0].id}", pure=False): group
            for group in _grouped(jobs, at_once)
        }
        try:
            ended = as_completed(list(group_of), loop=client.loop, raise_errors=False)  # type: ignore[no-untyped-call]
            for future in ended:
                if future.status == "lost":  # The worker that kept the outcomes died before they were fetched.
                    # Another attempts the trials again, and finds what is on disk.
                    ended.add(future)  # type: ignore[no-untyped-call]
                    continue
                yield _results(future, group_of.pop(future))
        finally:
            with contextlib.suppress(Exception):
                client.cancel(list(group_of), force=True)


def _grouped(jobs: Sequence[Job], workers: int) -> list[list[Job]]:
    folder_of = {trial.id: folder for trial, folder in jobs}
    groups = groups_of([trial for trial, _ in jobs], workers)
    return [[(trial, folder_of[trial.id]) for trial in group] for group in groups]


def _results(future: Any, group: Sequence[Job]) -> list[Outcome]:  # noqa: ANN401 - distributed has no types
    """Return a future's outcomes; make them where its workers died before they could.

    Raises:
        RunError: the scheduler went away with the trials.
    """
    try:
        if future.status == "finished":
            outcomes: list[Outcome] = future.result()
            return outcomes
        error = future.exception() if future.status == "error" else None
    except OSError:  # It went away between the news that they have ended and what came of it.
        error = None
    if error is None:
        raise RunError("lost the Dask scheduler. What is finished is kept: the same command goes on from there")
    killed = type(error).__name__ == "KilledWorker"
    reason = f"it killed {error.allowed_failures + 1} workers, one after the other" if killed else one_line(error)
    return [finished_outcome(place) or keep_outcome(trial, place, failure(trial, reason)) for trial, place in group]


@contextlib.contextmanager
def _client(workers: int, scheduler: str | None) -> Iterator[Any]:
    from distributed import Client

    if scheduler is not None:
        with _reached(scheduler) as client:
            yield client
        return
    with contextlib.ExitStack() as started:
        with interrupts_held():
            cluster = started.enter_context(local_cluster(workers))
            client = Client(cluster, set_as_default=False)  # type: ignore[no-untyped-call]
        try:
            yield client
        finally:
            with interrupts_ignored():
                client.close()  # type: ignore[no-untyped-call]
                started.close()


def _check_address(scheduler: str) -> None:
    # A client that never began for its address waits for itself when it is collected, and ends in a traceback.
    from distributed.comm.addressing import parse_address, parse_host_port
    from distributed.comm.registry import get_backend

    scheme, place = parse_address(scheduler)
    get_backend(scheme)
    if scheme in ("tcp", "tls"):
        parse_host_port(place)


@contextlib.contextmanager
def _reached(scheduler: str) -> Iterator[Any]:
    from distributed import Client

    # A scheduler that is lost is told in one message; Dask gives its client's logger a level of its own.
    for name in ("distributed", "distributed.client"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    try:
        _check_address(scheduler)
        client = Client(scheduler, timeout=_CONNECT_SECONDS, set_as_default=False)  # type: ignore[no-untyped-call]
    except (OSError, ValueError, ImportError) as error:
        raise RunError(
            f"no Dask scheduler answers at {scheduler!r}: expected an address such as tcp://127.0.0.1:8786. "
            "Start one with `dask scheduler`, or leave --scheduler out"
        ) from error
    with client:
        yield client

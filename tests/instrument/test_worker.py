"""Jobs run in order, beside the training, and their errors come out where it waits."""

import os
import threading
import time

import pytest
import torch
from threadpoolctl import threadpool_info

from gradscope.instrument.recording import worker as worker_module
from gradscope.instrument.recording.worker import Worker


def test_jobs_run_in_order_in_one_other_thread() -> None:
    """On CPU every job runs in the same thread, which is not the caller's."""
    worker, seen = Worker(torch.device("cpu")), []
    for number in range(100):
        worker.hand_in(lambda number=number: seen.append((number, threading.get_ident())))
    worker.wait()
    numbers, threads = zip(*seen, strict=True)
    assert numbers == tuple(range(100))
    assert len(set(threads)) == 1
    assert set(threads) != {threading.get_ident()}


def test_the_thread_computes_on_one_processor() -> None:
    """Matrix products beside a training leave it its processors; its own number of threads stays."""

    def used() -> set[int]:
        return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "openmp"}

    before, found = torch.get_num_threads(), []
    torch.set_num_threads(3)
    try:
        worker = Worker(torch.device("cpu"))
        worker.hand_in(lambda: (torch.ones(300, 300) @ torch.ones(300, 300), found.append(used())))
        worker.wait()
        assert found == [{1}]
        assert (torch.get_num_threads(), used()) == (3, {3})
    finally:
        torch.set_num_threads(before)


def test_nothing_begins_before_it_may() -> None:
    """A few jobs are held until `begin`, since the training's own Python code comes first."""
    worker, done = Worker(torch.device("cpu")), threading.Event()
    worker.hand_in(done.set)
    assert not done.wait(0.05)
    worker.begin()
    assert done.wait(10)


@pytest.mark.parametrize(("many", "size"), [(worker_module._MOST_BEGUN, 1), (2, worker_module._MOST_BYTES)])
def test_a_training_does_not_run_away_from_its_jobs(many: int, size: int) -> None:
    """Where too many wait, or too much memory with them, it waits for the oldest."""
    worker, go_on, waited = Worker(torch.device("cpu")), threading.Event(), threading.Event()

    def training() -> None:
        worker.make_room()
        waited.set()

    for _ in range(many):
        worker.hand_in(go_on.wait, size=size)
        worker.begin()
    threading.Thread(target=training).start()
    assert not waited.wait(0.1)
    go_on.set()
    assert waited.wait(10)
    worker.wait()


def test_an_error_is_heard_as_soon_as_there_is_room_to_make() -> None:
    """Not only at the end: a full disk is told while the training runs."""
    worker, failed = Worker(torch.device("cpu")), threading.Event()

    def fail() -> None:
        failed.set()
        raise OSError("full")

    worker.hand_in(fail)
    worker.begin()
    assert failed.wait(10)
    with pytest.raises(OSError, match="full"):
        for _ in range(1000):
            worker.make_room()
            time.sleep(0.01)


def test_nothing_is_submitted_from_where_python_collects() -> None:
    """What is held runs in the thread that asks, after what has begun, and so does what comes later."""
    worker, seen = Worker(torch.device("cpu")), []
    worker.hand_in(lambda: (time.sleep(0.05), seen.append("begun")))
    worker.begin()
    worker.hand_in(lambda: seen.append(threading.get_ident()))
    worker.run_here()
    worker.hand_in(lambda: seen.append(threading.get_ident()))
    assert seen == ["begun", threading.get_ident(), threading.get_ident()]


def test_what_is_not_worth_the_thread_runs_here_and_in_order() -> None:
    """A small job runs at once, after those that were handed in before it."""
    worker, seen = Worker(torch.device("cpu")), []
    worker.hand_in(lambda: seen.append(("first", threading.get_ident())))
    worker.hand_in(lambda: seen.append(("second", threading.get_ident())), size=None)
    (first, thread), second = seen
    assert first == "first"
    assert thread != threading.get_ident()
    assert second == ("second", threading.get_ident())
    worker.hand_in(lambda: (time.sleep(0.05), seen.append("third")))
    worker.wait()
    assert seen[2:] == ["third"]


def test_after_its_end_no_thread_is_left() -> None:
    """The thread goes with the jobs done; a later job still runs."""
    worker, seen = Worker(torch.device("cpu")), []
    worker.hand_in(lambda: seen.append(threading.current_thread()))
    worker.end()
    assert not seen[0].is_alive()
    worker.hand_in(lambda: seen.append(threading.current_thread()))
    worker.wait()
    assert seen[1] is threading.current_thread()


def test_an_error_ends_the_jobs_and_is_raised_once() -> None:
    """What comes after a failed job does not run; the error is raised by the next wait, and only by that."""
    worker, seen = Worker(torch.device("cpu")), []

    def fail() -> None:
        raise OSError("no space left")

    worker.hand_in(fail)
    worker.hand_in(lambda: seen.append("after"))
    with pytest.raises(OSError, match="no space left"):
        worker.wait()
    worker.hand_in(lambda: seen.append("later"))
    worker.wait()
    assert seen == []


def test_waiting_within_a_job_does_not_wait_for_itself() -> None:
    """Python may collect a recorder in the worker's own thread, and its end waits for the jobs."""
    worker, seen = Worker(torch.device("cpu")), []

    def job() -> None:
        worker.join()
        seen.append(True)

    worker.hand_in(job)
    worker.wait()
    assert seen == [True]


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_takes_no_jobs() -> None:
    """The thread stays in the parent: a child does not wait for it for ever, and does not write beside it."""
    worker = Worker(torch.device("cpu"))
    worker.hand_in(lambda: None)
    worker.wait()
    child = os.fork()
    if child == 0:
        refused = False
        try:
            worker.hand_in(lambda: None)
        except RuntimeError:
            refused = True
        worker.wait()
        os._exit(0 if refused else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_waits_for_the_jobs() -> None:
    """A process is not forked in the middle of a job, whose locks the child would inherit."""
    worker, seen = Worker(torch.device("cpu")), []

    def job() -> None:
        time.sleep(0.1)
        seen.append(True)

    worker.hand_in(job)
    child = os.fork()
    if child == 0:
        os._exit(0 if seen == [True] else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_jobs_see_neither_gradients_nor_autocast() -> None:
    """Both are settings of a thread: the training's own do not reach into a job."""
    worker, seen = Worker(torch.device("cpu")), []
    with torch.autocast("cpu", torch.bfloat16):
        worker.hand_in(lambda: seen.append((torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"))))
        worker.wait()
    assert seen == [(False, False)]


def test_jobs_leave_the_casts_of_the_training_alone() -> None:
    """Autocast caches the cast of a weight: emptied from another thread, a weight used twice would be cast twice."""
    worker, weight = Worker(torch.device("cpu")), torch.randn(4, 4, requires_grad=True)

    def cast() -> object:
        return torch.mm(torch.ones(2, 4), weight).grad_fn.next_functions[1][0]

    with torch.autocast("cpu", torch.bfloat16):
        first = cast()
        worker.hand_in(lambda: None)
        worker.wait()
        assert cast() is first


def test_the_time_of_jobs_in_the_thread_is_known() -> None:
    """Of those only: what runs at once is time of the training's own thread, and counted there."""
    worker = Worker(torch.device("cpu"))
    worker.hand_in(lambda: time.sleep(0.05))
    worker.wait()
    beside = worker.seconds
    assert beside >= 0.05
    worker.hand_in(lambda: time.sleep(0.05), size=None)
    worker.wait()
    assert worker.seconds == beside

"""Ctrl-C, held back while it would do harm."""

import contextlib
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker


@contextlib.contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back while workers start; one that comes meanwhile takes effect afterwards.

    A terminal sends it to every process of the group. Threads and processes inherit what is held back, so workers that
    start under this never see it, not even those that a nanny starts later: only this process does, and stops them in
    order.

    Yields:
        Nothing.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    # multiprocessing's tracker lets Ctrl-C through again when it starts; so it has to be there already.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextlib.contextmanager
def interrupts_ignored() -> Iterator[None]:
    """Ignore Ctrl-C: a second one must not tear down the stopping of the workers, which the first one began.

    Yields:
        Nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)

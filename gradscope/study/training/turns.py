"""One process at a time trains a trial: two commands may share a folder, and a worker that was given up may live on."""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from gradscope.runs.places import Place


@contextlib.contextmanager
def alone_with(folders: Sequence[Place]) -> Iterator[None]:
    """Wait until nobody else on this machine trains one of these trials, and keep others waiting meanwhile.

    Args:
        folders: of the trials' runs. Object stores, and file systems that know no locks, are left to themselves.

    Yields:
        Nothing. What another process finished in the meantime is on disk.
    """
    with contextlib.ExitStack() as held:
        # Always in the same order: two that hold some each would wait for one another for ever.
        for folder in sorted(folder for folder in folders if isinstance(folder, Path)):
            held.enter_context(_lock(folder))
        yield


@contextlib.contextmanager
def _lock(folder: Path) -> Iterator[None]:
    from filelock import FileLock

    # Beside the folder, which a training that begins anew replaces.
    path = folder.parent / f".{folder.name}.lock"
    lock = FileLock(path)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except (OSError, NotImplementedError):
        yield
        return
    try:
        yield
    finally:
        # Before it is let go: whoever waits for a file that is gone begins with a new one.
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        lock.release()

"""Worker processes of our own on this machine."""

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

from gradscope.errors import RunError

_LONGEST_TEMPORARY = 107 - len("/pymp-XXXXXXXX/listener-XXXXXXXX")
"""Where TMPDIR is longer, as on clusters, a server of forks cannot be reached: its socket has a name in there."""

_WHAT_EVERY_WORKER_IMPORTS = ["distributed", "torch._dynamo", "gradscope.study.training.training"]


@contextlib.contextmanager
def local_cluster(workers: int) -> Iterator[Any]:
    """Start a Dask cluster on this machine.

    Yields:
        The cluster; its processes and its folder are gone afterwards.

    Raises:
        RunError: its processes cannot be started here.
    """
    import dask
    from distributed import LocalCluster

    # One trial a worker at a time: with a second one waiting there, a death would be held against both.
    settings = {"distributed.scheduler.worker-saturation": 1.0, **_how_processes_start()}
    scratch = tempfile.TemporaryDirectory(prefix="gradscope-", ignore_cleanup_errors=True)
    # As long as the cluster lives: a worker that replaces another is started under the same settings.
    with scratch as folder, dask.config.set(settings):
        _import_once()
        cluster = _started(
            LocalCluster,
            n_workers=workers,
            threads_per_worker=1,
            host="127.0.0.1",
            # Any free port: without one, Dask takes 8787 all the same, and warns where another study has it.
            dashboard_address="127.0.0.1:0",
            # The trials are small; Dask's own limit would pause them on a machine that others use too.
            memory_limit=0,
            local_directory=folder,
            # A worker's death is dealt with, and shown as a number: no log lines through the progress bar.
            silence_logs=logging.CRITICAL,
            # As it is now, not as it was when the first cluster of this process was started.
            env=dict(os.environ),
        )
        try:
            yield cluster
        finally:
            cluster.close()


def _started(make: Callable[..., Any], **settings: Any) -> Any:  # noqa: ANN401 - Dask has no types
    try:
        return make(**settings)
    except (RuntimeError, OSError) as error:
        why = error.__cause__ or error
        raise RunError(
            f"cannot start worker processes on this machine: {type(why).__name__}: {why}. With --workers 0 the trials "
            "are trained in this process"
        ) from error


def _how_processes_start() -> dict[str, str]:
    if len(tempfile.gettempdir()) > _LONGEST_TEMPORARY:
        return {}
    # One process imports torch, and every worker is a fork of it, also one that replaces another: on two processors a
    # study begins with half the work, on sixteen with a sixteenth. Elsewhere forking is not safe, or not there.
    return {"distributed.worker.multiprocessing-method": "forkserver"} if sys.platform == "linux" else {}


def _import_once() -> None:
    from distributed.utils import get_mp_context

    # Its first call sets a list of Dask's own, which lacks torch.
    context = get_mp_context()  # type: ignore[no-untyped-call]
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload(_WHAT_EVERY_WORKER_IMPORTS)

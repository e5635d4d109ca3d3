"""A study on two machines whose cable is pulled: run inside a network of its own, see `test_two_machines.py`.

`unshare --map-root-user --net python -m tests.study.two_machines FOLDER` makes a second network namespace, joins the
two by a virtual cable, starts a scheduler and a worker on this side and a worker on the other, and cuts the cable when
the first trial has ended. It prints what became of the trials as JSON.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

from distributed import Client

from gradscope.study.running.workers import run_on_cluster
from gradscope.study.spec.trial import Trial

HERE, THERE = "10.77.0.1", "10.77.0.2"
ADDRESS = f"tcp://{HERE}:8786"
DASK = str(Path(sys.executable).parent / "dask")
NOTICED_AFTER = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s", "DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
"""Dask takes a machine that does not answer for lost after 30 s; these 11 s are the least that it allows."""


def main() -> None:
    """Train, cut, and print."""
    jobs = [(trial, Path(sys.argv[1], "runs", trial.id)) for trial in map(_trial, range(8))]
    with _second_machine() as there, _cluster(there), Client(ADDRESS, set_as_default=False) as client:
        client.wait_for_workers(2, timeout=60)
        before = _hosts(client)
        results = run_on_cluster(jobs, workers=0, scheduler=ADDRESS)
        outcomes = next(results)
        _ip("link", "set", "cable0", "down")
        outcomes += chain.from_iterable(results)
        after = _hosts(client)
    statuses = {outcome.trial: outcome.status for outcome in outcomes}
    print(json.dumps({"before": before, "after": after, "statuses": statuses}))


def _trial(seed: int) -> Trial:
    settings = {"task": "adding", "kind": "adding", "length": 40, "options": {"length": 40}, "cell": "rnn_tanh"}
    rest = {"initialisation": "default", "clipping": "none", "seed": seed, "hidden": 4, "iterations": 150, "batch": 3}
    return Trial(**settings, **rest, optimizer="adam", learning_rate=0.01, every=2)


def _hosts(client: Client) -> list[str]:
    return sorted(worker["host"] for worker in client.scheduler_info(n_workers=-1)["workers"].values())


def _ip(*words: str, inside: tuple[str, ...] = ()) -> None:
    subprocess.run([*inside, "ip", *words], check=True)


@contextlib.contextmanager
def _second_machine() -> Iterator[tuple[str, ...]]:
    """Make it, and give the words that run a command there."""
    holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
    inside = ("nsenter", "--target", str(holder.pid), "--net")
    try:
        mine = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{holder.pid}/ns/net").readlink() == mine:
            time.sleep(0.01)
        _ip("link", "set", "lo", "up")
        _ip("link", "add", "cable0", "type", "veth", "peer", "name", "cable1", "netns", str(holder.pid))
        _ip("address", "add", f"{HERE}/24", "dev", "cable0")
        _ip("link", "set", "cable0", "up")
        _ip("link", "set", "lo", "up", inside=inside)
        _ip("address", "add", f"{THERE}/24", "dev", "cable1", inside=inside)
        _ip("link", "set", "cable1", "up", inside=inside)
        yield inside
    finally:
        holder.kill()
        holder.wait()


@contextlib.contextmanager
def _cluster(there: tuple[str, ...]) -> Iterator[None]:
    worker = [DASK, "worker", ADDRESS, "--nthreads", "1", "--no-dashboard"]
    commands = [
        [DASK, "scheduler", "--host", HERE, "--port", "8786", "--no-dashboard", "--no-show"],
        [*worker, "--host", HERE],
        [*there, *worker, "--host", THERE],
    ]
    started = [
        subprocess.Popen(
            command,
            cwd=sys.argv[1],
            env=os.environ | NOTICED_AFTER,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        for command in commands
    ]
    try:
        yield
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


if __name__ == "__main__":
    main()

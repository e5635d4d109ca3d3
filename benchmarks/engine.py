"""What the engine of a study costs beside the training: `make bench`, or `python -m benchmarks.engine WHAT`.

overhead  a study of many tiny trials: what each costs that is no training, and the memory of the client as it goes
shares    of a built-in study's --full form, a few iterations of one trial of each task and cell: trials an hour, and
          what of a trial is what. In processor time, so that it may be measured on a busy machine
rate      equal trials on --workers workers: trials a second, and how busy the workers are
scaling   the same on one worker and one processor, and on two of each; on a machine at rest
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path
from unittest import mock

# Before torch is imported: a worker trains on one thread, and so does what is measured in this process.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import psutil

from gradscope.runs import RunWriter
from gradscope.study.comparing.comparison import compare
from gradscope.study.running.workers import run_here, run_on_cluster
from gradscope.study.spec.catalogue import find_study
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import load_study
from gradscope.study.spec.study_spec import StudySpec
from gradscope.study.spec.trial import Trial
from gradscope.study.training.attempt import attempt_trial

FEW = 40
"""Iterations of a trial that are trained for `shares`, watched and not."""
SECONDS_BETWEEN_FLUSHES = 2.0


def main() -> None:
    """Measure what the command line names; all of it if it names nothing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", help="overhead, shares, rate or scaling")
    parser.add_argument("--trials", type=int, default=1000, help="of overhead")
    parser.add_argument("--workers", type=int, default=1, help="of overhead and rate; 0 trains in this process")
    parser.add_argument("--study", default="vanishing", help="of shares")
    given = parser.parse_args()
    measure: dict[str, Callable[[], None]] = {
        "overhead": lambda: overhead(given.trials, given.workers),
        "shares": lambda: shares(given.study),
        "rate": lambda: rate(given.workers),
        "scaling": scaling,
    }
    for what in given.what or ("overhead", "shares", "scaling"):
        print(what, flush=True)
        measure[what]()


def overhead(count: int, workers: int) -> None:
    """Train many tiny trials and compare them."""
    spec = _adding(count, iterations=6, length=8, hidden=4)
    process, sizes = psutil.Process(), []
    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        jobs = [(trial, Path(folder) / trial.id) for trial in expand_grid(spec)]
        expanded = time.perf_counter()
        first, own, training = 0.0, 0.0, 0.0
        results = run_on_cluster(jobs, workers) if workers else run_here(jobs)
        for number, outcome in enumerate(chain.from_iterable(results)):
            if number == 0:
                first, own = time.perf_counter(), time.process_time()
            training += outcome.seconds
            if number % max(1, count // 10) == 0:
                sizes.append(process.memory_info().rss / 2**20)
        ended, owned = time.perf_counter(), time.process_time()
        compare(spec, [place for _, place in jobs], {})
        compared, finished = time.perf_counter(), time.process_time()
    engine = ((ended - first) * max(1, workers) - training) / count
    print(f"  {count} trials, {workers} workers: grid {expanded - began:.2f} s, start {first - expanded:.1f} s")
    print(f"  a trial: training {1e3 * training / count:.1f} ms, engine {1e3 * engine:.1f} ms,", end=" ")
    print(f"comparing {1e3 * (compared - ended) / count:.1f} ms")
    client, comparing = owned - own, finished - owned
    print(f"  of which processor time of the client: {1e3 * client / count:.1f} ms, {1e3 * comparing / count:.1f} ms")
    print("  memory of the client while they train, MB:", *(f"{size:.0f}" for size in sizes))
    print(f"  and after comparing: {process.memory_info().rss / 2**20:.0f}")


def shares(study: str) -> None:
    """Measure a few iterations of one trial of each task and cell, and scale them up to the grid."""
    trials = expand_grid(load_study(find_study(study), "full"))
    of_kind: dict[tuple[str, str], list[Trial]] = {}
    for trial in trials:
        of_kind.setdefault((trial.task, trial.cell), []).append(trial)
    _seconds(replace(trials[0], iterations=2))  # what is imported but once
    whole: dict[str, float] = {}
    for kind, alike in of_kind.items():
        one = _shares_of(alike[0])
        print(f"  {' '.join(kind):24}{len(alike):4} trials of {sum(one.values()):6.1f} s:", _percent(one), flush=True)
        whole = {name: whole.get(name, 0.0) + len(alike) * seconds for name, seconds in one.items()}
    total = sum(whole.values())
    print(f"  {len(trials)} trials, {total / 3600:.2f} h of one processor:", _percent(whole))
    print(
        "  trials an hour:", *(f"{3600 * count * len(trials) / total:.0f} on {count} processors," for count in (1, 2))
    )


def _shares_of(trial: Trial) -> dict[str, float]:
    """Return the seconds of processor time that each part of a trial takes."""
    calls: list[float] = []
    begun = _seconds(replace(trial, iterations=1, every=1))
    bare = (_seconds(replace(trial, iterations=FEW + 1, every=FEW + 1)) - begun) / FEW
    with _timed(RunWriter, "write", calls):
        watched = (_seconds(replace(trial, iterations=FEW + 1, every=1)) - begun) / FEW
    write = statistics.mean(calls)
    training, recorded = trial.iterations * bare, trial.iterations / trial.every
    recording = recorded * max(0.0, watched - bare - write * (len(calls) - 1) / FEW)
    flushes = 1 + min(recorded, (training + recording) / SECONDS_BETWEEN_FLUSHES)
    return {"training": training, "recording": recording, "writing": flushes * write, "beginning and end": begun}


def _seconds(trial: Trial) -> float:
    with tempfile.TemporaryDirectory() as folder:
        began = time.process_time()
        outcome = attempt_trial(trial, Path(folder) / trial.id)
        assert outcome.status != "failed", outcome.reason
        return time.process_time() - began


@contextmanager
def _timed(owner: type, name: str, calls: list[float]) -> Iterator[None]:
    """Collect the processor time of a method's calls."""
    method = getattr(owner, name)

    def measured(*given: object, **named: object) -> object:
        began = time.thread_time()
        try:
            return method(*given, **named)
        finally:
            calls.append(time.thread_time() - began)

    with mock.patch.object(owner, name, measured):
        yield


def _percent(parts: dict[str, float]) -> str:
    return ", ".join(f"{name} {100 * seconds / sum(parts.values()):.1f} %" for name, seconds in parts.items())


def rate(workers: int, count: int = 24) -> None:
    """Train equal trials."""
    spec = _adding(count, iterations=200, length=100, hidden=32)
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(trial, Path(folder) / trial.id) for trial in expand_grid(spec)]
        ends = [(time.perf_counter(), one.seconds) for one in chain.from_iterable(run_on_cluster(jobs, workers))]
    a_second, busy = _rate(ends, workers)
    print(f"  {workers} workers: {a_second:.3f} trials a second, training {100 * busy:.0f} % of the time")


def scaling() -> None:
    """Compare one worker that has one processor with two that have two.

    Each in a process of its own, which may use no other processor: what a trial records is worked out in a thread
    beside it, so that a single worker would otherwise take more than its share.
    """
    processors, rates = sorted(os.sched_getaffinity(0)), []
    for workers in (1, 2):
        measured = subprocess.run(
            [sys.executable, "-m", "benchmarks.engine", "rate", "--workers", str(workers)],
            check=True,
            capture_output=True,
            text=True,
            preexec_fn=partial(os.sched_setaffinity, 0, processors[:workers]),
        ).stdout
        print(measured.partition("\n")[2], end="", flush=True)
        rates.append(float(measured.split()[3]))
    print(f"  from one to two: x{rates[1] / rates[0]:.2f}")


def _rate(ends: Sequence[tuple[float, float]], workers: int) -> tuple[float, float]:
    """Return trials a second and the share of time in training while all workers have work.

    The first trial of each worker is left out, which waits for imports, and so are the last, when workers run dry.
    """
    counted = ends[workers : len(ends) - workers + 1]
    seconds = counted[-1][0] - ends[workers - 1][0]
    return len(counted) / seconds, sum(training for _, training in counted) / (workers * seconds)


def _adding(count: int, iterations: int, length: int, hidden: int) -> StudySpec:
    block = {"task": ["adding"], "cell": ["rnn_tanh"], "initialisation": ["default"], "seed": list(range(count))}
    return StudySpec.model_validate(
        {
            "name": "measured",
            "title": "Measured",
            "question": "What does a trial cost?",
            "task": {"adding": {"length": length}},
            "model": {"hidden": hidden},
            "training": {"iterations": iterations, "batch": 16},
            "watch": {"every": max(1, iterations // 25)},
            "grid": [block],
        }
    )


if __name__ == "__main__":
    main()

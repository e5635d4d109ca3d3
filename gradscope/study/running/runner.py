"""A whole study: its trials trained or taken from disk, then compared."""

import datetime
import time
from dataclasses import dataclass
from functools import partial

from rich.console import Console

from gradscope.errors import GradscopeError, RunError
from gradscope.runs.places import Place, each_of
from gradscope.study.comparing.comparison import Comparison, compare
from gradscope.study.comparing.provenance import machine, seeds, versions
from gradscope.study.running.place import prepare_folder
from gradscope.study.running.progress import StudyProgress
from gradscope.study.running.sessions import Session, how_trained, keep_session
from gradscope.study.running.workers import Job, default_workers, run_here, run_on_cluster
from gradscope.study.spec.grid import expand_grid
from gradscope.study.spec.loading import Mode
from gradscope.study.spec.selection import select_trials
from gradscope.study.spec.study_spec import StudySpec
from gradscope.study.training.attempt import finished_outcome
from gradscope.study.training.outcome import Outcome, forget_outcome, read_outcome


@dataclass(frozen=True)
class Setup:
    """How a study is to be run; none of it changes a number.

    Attributes:
        out: folder of the report and of the trials' runs, here or in an object store.
        workers: worker processes; 0 runs every trial in this process, None takes one for each processor.
        scheduler: address of a running Dask scheduler, used in place of workers of our own.
        fresh: train every trial again, also what is finished on disk.
        mode: which mode the spec was read in; for the report.
        command: the command line; for the report.
        only: conditions that the trials must satisfy, such as `cell=lstm`; none for the whole grid.
    """

    out: Place
    workers: int | None = None
    scheduler: str | None = None
    fresh: bool = False
    mode: Mode = "default"
    command: str = ""
    only: tuple[str, ...] = ()

    @property
    def goes_on(self) -> str:
        """How to go on after an interrupt: `--fresh` would begin once more."""
        return f"The same command{' without --fresh' if self.fresh else ''} goes on from there"

    def folder(self, spec: StudySpec) -> Place:
        """Return the folder of the study's runs."""
        return self.out / "runs" / spec.name


def run_study(spec: StudySpec, setup: Setup, console: Console) -> Comparison:
    """Run a study.

    Args:
        spec: what to train.
        setup: where, and on how many processes.
        console: for the progress.

    Returns:
        The comparison of all its trials.

    Raises:
        UsageError: its text cannot be used, or no trial satisfies the conditions.
        RunError: the folder cannot be written, the scheduler is lost, or every trial failed.
        GradscopeError: the user interrupted it.
    """
    started, began = datetime.datetime.now(datetime.UTC), time.monotonic()
    trials = select_trials(expand_grid(spec), setup.only)
    prepare_folder(setup.out)
    jobs = [(trial, setup.folder(spec) / trial.id) for trial in trials]
    if setup.fresh:
        _forget(jobs)
    # Workers may stand in another folder than this process.
    done = each_of(finished_outcome, [folder for _, folder in jobs])
    to_train = [(trial, folder.resolve()) for (trial, folder), one in zip(jobs, done, strict=True) if one is None]
    folder = setup.folder(spec)
    try:
        outcomes = _train(spec, to_train, len(jobs), setup, console)
    finally:
        finished = each_of(finished_outcome, [place for _, place in to_train])
        keep_session(
            folder,
            Session(
                started=started.isoformat(timespec="seconds"),
                seconds=round(time.monotonic() - began, 1),
                workers=setup.scheduler or _workers(setup, to_train),
                trials=[trial.id for (trial, _), one in zip(to_train, finished, strict=True) if one is not None],
            ),
        )
    failures = [outcome for outcome in outcomes if outcome.status == "failed"]
    if len(failures) == len(jobs):
        raise RunError(f"{_all(len(jobs))} failed, so there is nothing to compare. {failures[0].reason}")
    provenance = {
        "command": setup.command,
        "mode": setup.mode,
        **({"only": ", ".join(setup.only)} if setup.only else {}),
        "versions": versions(),
        "machine": machine(),
        "seeds": seeds(trials),
        **how_trained(folder, [trial.id for trial in trials]),
        "trials": len(jobs),
        "reused": len(jobs) - len(to_train),
        "failed": len(failures),
    }
    return compare(spec, [folder for _, folder in jobs], provenance, {one.trial: one for one in failures})


def _all(count: int) -> str:
    return "the only trial" if count == 1 else f"all {count} trials"


def _forget(jobs: list[Job]) -> None:
    try:
        for _, folder in jobs:
            forget_outcome(folder)
    except OSError as error:
        raise RunError(f"cannot start over: {error}. Give another folder with --out") from error


def _workers(setup: Setup, to_train: list[Job]) -> int:
    return min(default_workers() if setup.workers is None else setup.workers, len(to_train))


def _train(spec: StudySpec, to_train: list[Job], total: int, setup: Setup, console: Console) -> list[Outcome]:
    """Train what is not finished, showing how far it is.

    Returns:
        The outcomes of what was trained now.

    Raises:
        GradscopeError: the user interrupted it.
    """
    workers = _workers(setup, to_train)
    console.print(_plan(spec, total, len(to_train), workers, setup), highlight=False, soft_wrap=True)
    never = _never_shown(to_train)
    if never:
        console.print(never, highlight=False, soft_wrap=True)
    if not to_train:
        return []
    # As good as random, so that the pace so far foretells the time left although cells differ in speed.
    queue = sorted(to_train, key=lambda job: job[0].id)
    here = setup.workers == 0 and setup.scheduler is None
    say = partial(console.print, highlight=False, soft_wrap=True)
    results = run_here(queue) if here else run_on_cluster(queue, workers, setup.scheduler, say)
    outcomes: list[Outcome] = []
    try:
        # Where several are trained together a worker has more than one of them.
        counted = setup.scheduler is None and not any(trial.together for trial, _ in queue)
        with StudyProgress(console, len(queue), workers if counted else None) as progress:
            for ended in results:
                outcomes += ended
                progress.advance(*ended)
    except KeyboardInterrupt:
        results.close()
        # From disk: a worker may have finished one more while it was being stopped.
        kept = total - sum(finished_outcome(folder) is None for _, folder in to_train)
        raise GradscopeError(f"interrupted: {kept} of {total} trials are finished and kept. {setup.goes_on}") from None
    _check_shared(queue, outcomes)
    return outcomes


def _check_shared(queue: list[Job], outcomes: list[Outcome]) -> None:
    """Make sure that what the workers wrote is here.

    Raises:
        RunError: they wrote into a folder of their own.
    """
    folder_of = {trial.id: folder for trial, folder in queue}
    lost = [one for one in outcomes if one.status != "failed" and read_outcome(folder_of[one.trial]) is None]
    if lost:
        raise RunError(
            f"{len(lost)} of {len(outcomes)} trials are finished, but not in {folder_of[lost[0].trial].parent}: their "
            "workers have another folder of that name. Give an --out that every worker shares, such as one on NFS or s3://BUCKET/FOLDER"
        )


def _never_shown(to_train: list[Job]) -> str:
    """Return which of `watch.exhibits` no trial reaches, in words; empty where there is none."""
    most = max((trial.iterations for trial, _ in to_train), default=0)
    late = sorted({stop for trial, _ in to_train for stop in trial.exhibits if stop > most})
    said = ", ".join(map(str, late))
    return (
        f"watch.exhibits: nothing is shown after {said} iterations, since no trial has more than {most}" if late else ""
    )


def _plan(spec: StudySpec, total: int, to_train: int, workers: int, setup: Setup) -> str:
    reused = f", {total - to_train} taken from disk" if to_train < total else ""
    where = f"on {setup.scheduler}" if setup.scheduler else f"on {workers} worker{'s' * (workers != 1)}"
    if setup.workers == 0 and setup.scheduler is None:
        where = "in this process"
    training = f", {to_train} to train {where}" if to_train else ", nothing to train"
    return f"{spec.name}: {total} trial{'s' * (total != 1)}{reused}{training}"

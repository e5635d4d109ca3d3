"""`gradscope study`: train a grid of recurrent models, compare their gradients, write one report."""

import json
import shlex
import sys
from typing import TYPE_CHECKING

import click

from gradscope.cli import truth_cases, what_if_trials
from gradscope.cli.json_alone import json_alone
from gradscope.cli.places import page_in, typed_place
from gradscope.errors import GradscopeError, UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gradscope.runs.places import Place
    from gradscope.study.comparing.comparison import Comparison
    from gradscope.study.running.runner import Setup
    from gradscope.study.spec.loading import Mode
    from gradscope.study.spec.study_spec import StudySpec


@click.command(epilog="Example: gradscope study vanishing --quick --out reports")
@click.argument("name", metavar="NAME|FILE.toml")
@click.option("--quick", is_flag=True, help="A smaller grid and fewer iterations: half a minute.")
@click.option("--full", is_flag=True, help="Train until the tasks are learned: an hour or more.")
@click.option(
    "--out",
    type=typed_place,
    default="reports",
    metavar="DIR",
    show_default=True,
    help="Folder of the report, or its URL: s3://bucket/folder.",
)
@click.option("--workers", type=int, help="Worker processes; 0 trains in this one. Default: one for each processor.")
@click.option("--scheduler", metavar="ADDRESS", help="Use a running Dask cluster, such as tcp://127.0.0.1:8786.")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Change a field: training.iterations=50, or grid.seed=0..9 for all blocks.",
)
@click.option("--only", multiple=True, metavar="FIELD=VALUE", help="Part of the grid: cell=lstm, or seed=0,1.")
@click.option(
    "--fresh/--resume",
    default=False,
    help="Train every trial again, or take those that are finished from disk (the default).",
)
@click.option("--dry-run", is_flag=True, help="Print the grid of trials and the time it will take, and stop.")
@click.option("--of", metavar="NAME|FILE.toml", help="With what-if: the study whose models are tried.")
@click.option("--remedy", "remedies", multiple=True, help="With what-if: one to try, such as clip-norm(1).")
@click.option("--json", "as_json", is_flag=True, help="Print the settings and their verdicts as JSON on stdout.")
def command(
    name: str,
    quick: bool,
    full: bool,
    out: "Place",
    workers: int | None,
    scheduler: str | None,
    settings: tuple[str, ...],
    only: tuple[str, ...],
    fresh: bool,
    dry_run: bool,
    of: str | None,
    remedies: tuple[str, ...],
    as_json: bool,
) -> None:
    """Train a grid of recurrent models, compare their gradients, write one report.

    NAME is a built-in study (see `gradscope studies`), FILE.toml one of your own; `truth` compares gradscope's numbers
    with closed forms and published values, `what-if` tries remedies on the models of a study. Trials that are finished
    on disk are not trained again.
    """
    _check(quick, full, workers)
    grid_alone = {"--full": full, "--workers": workers is not None, "--scheduler": scheduler is not None}
    chosen = {"--set": settings, "--only": only, "--dry-run": dry_run}
    what_if_alone = {"--of": of is not None, "--remedy": remedies}
    if name == truth_cases.NAME:
        _refuse(name, grid_alone | chosen | what_if_alone)
        truth_cases.run_truth(out, as_json=as_json)
        return
    mode: Mode = "quick" if quick else "full" if full else "default"
    if name == what_if_trials.NAME:
        _refuse(name, grid_alone)
        what_if_trials.run_what_if(
            of, remedies, out, mode=mode, settings=settings, only=only, dry_run=dry_run, as_json=as_json
        )
        return
    _refuse(name, what_if_alone)
    from gradscope.study.spec.catalogue import find_study
    from gradscope.study.spec.loading import load_study

    with json_alone(as_json):
        spec = load_study(find_study(name, (truth_cases.NAME, what_if_trials.NAME)), mode, settings)
    if mode != "default" and not getattr(spec, mode):
        click.echo(f"{spec.name} has no [{mode}] table: --{mode} changes nothing", err=True)
    from gradscope.study.running.runner import Setup

    setup = Setup(out, workers, scheduler, fresh, mode, shlex.join(["gradscope", *sys.argv[1:]]), only)
    if dry_run:
        _print_grid(spec, setup, as_json)
        return
    with json_alone(as_json):
        comparison, report = _run(spec, setup)
    _print_result(comparison, report, as_json)


def _check(quick: bool, full: bool, workers: int | None) -> None:
    """Refuse options that exclude each other or make no sense.

    Raises:
        UsageError: which, and what is accepted.
    """
    if quick and full:
        raise UsageError("--quick and --full exclude each other: give one of them, or neither")
    if workers is not None and workers < 0:
        raise UsageError(f"--workers expects 0 (train in this process) or more, got {workers}")


def _refuse(name: str, options: "Mapping[str, object]") -> None:
    """Refuse options that mean nothing for this study.

    Raises:
        UsageError: which were given.
    """
    given = [option for option, value in options.items() if value]
    if given:
        raise UsageError(f"the study {name} does not know {', '.join(given)}: leave that out")


def _run(spec: "StudySpec", setup: "Setup") -> "tuple[Comparison, Place]":
    """Run the study and write its report.

    Returns:
        The comparison and the path of its report.

    Raises:
        GradscopeError: the user interrupted it.
    """
    from rich.console import Console

    from gradscope.study.running.interrupts import termination_interrupts
    from gradscope.study.running.runner import run_study

    page = page_in(setup.out, spec.name)
    with termination_interrupts():
        try:
            comparison = run_study(spec, setup, Console(stderr=True))
            from gradscope.reporting import study_page

            return comparison, study_page(comparison, page)
        except KeyboardInterrupt:
            raise GradscopeError(f"interrupted: no report was written. {setup.goes_on}") from None


def _print_result(comparison: "Comparison", report: "Place", as_json: bool) -> None:
    from rich.console import Console

    from gradscope.study.comparing.verdict_table import verdict_tables

    console = Console(stderr=as_json)
    if as_json:
        # pandas writes NaN and infinities as null, which JSON has no other word for.
        click.echo(comparison.settings.to_json(orient="records", indent=2))
    else:
        console.print(*verdict_tables(comparison))
    lost = comparison.trials[comparison.trials["status"] != "finished"]
    for row in lost.to_dict("records"):
        words = " ".join(str(row[key]) for key in ("task", "cell", "initialisation", "clipping"))
        console.print(f"{row['status']}: {words}, seed {row['seed']}: {row['reason']}", soft_wrap=True, markup=False)
    console.print(f"report: {report}", soft_wrap=True, markup=False, highlight=False)


def _print_grid(spec: "StudySpec", setup: "Setup", as_json: bool) -> None:
    from gradscope.study.running.expected import expected_seconds, in_words
    from gradscope.study.running.workers import default_workers
    from gradscope.study.spec.grid import expand_grid
    from gradscope.study.spec.selection import select_trials

    with json_alone(as_json):
        trials = select_trials(expand_grid(spec), setup.only)
    workers = default_workers() if setup.workers is None else setup.workers
    seconds = expected_seconds(trials, setup.folder(spec), workers, fresh=setup.fresh)
    if as_json:
        listed = [{"trial": trial.id, **trial.settings} for trial in trials]
        click.echo(json.dumps({"trials": listed, "workers": workers, "expected_seconds": round(seconds)}, indent=2))
        return
    for trial in trials:
        click.echo(f"{trial.id}  {trial.label}")
    on = f"on {workers} worker{'s' * (workers != 1)}" if workers else "in this process"
    count = f"{len(trials)} trial{'s' * (len(trials) != 1)}"
    click.echo(f"{count}; {in_words(seconds)} {on}" if seconds else f"{count}, all on disk")

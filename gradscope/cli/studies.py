"""`gradscope studies`: what there is to run."""

import json
import textwrap
from typing import TYPE_CHECKING

import click

from gradscope.cli import truth_cases, what_if_trials
from gradscope.cli.places import typed_place
from gradscope.errors import UsageError

if TYPE_CHECKING:
    from gradscope.runs.places import Place
    from gradscope.study.spec.parts import StudyPart
    from gradscope.study.spec.study_spec import StudySpec

_KEYS = ("name", "title", "question", "seconds", "quick_seconds")


@click.command(epilog="Example: gradscope studies --parts")
@click.option(
    "--out",
    type=typed_place,
    default="reports",
    metavar="DIR",
    show_default=True,
    help="Folder of finished studies: they tell how fast this machine is.",
)
@click.option(
    "--parts",
    is_flag=True,
    help="List tasks, cells, initialisations, clippings and measures in their place, each with its reference.",
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON on stdout.")
def command(out: "Place", parts: bool, as_json: bool) -> None:
    """List the built-in studies, each with its question and the time that it takes here."""
    if parts:
        _print_parts(as_json)
        return
    from gradscope.study.running.expected import in_words
    from gradscope.study.spec.catalogue import built_in_studies
    from gradscope.study.spec.loading import load_study

    rows = []
    for name, path in built_in_studies().items():
        spec, quick = load_study(path), load_study(path, "quick")
        rows.append((name, spec.title, spec.question, _seconds(spec, out), _seconds(quick, out)))
    rows.append((truth_cases.NAME, truth_cases.TITLE, truth_cases.QUESTION, truth_cases.SECONDS, truth_cases.SECONDS))
    tried = what_if_trials
    rows.append((tried.NAME, tried.TITLE, tried.QUESTION, tried.SECONDS, tried.QUICK_SECONDS))
    if as_json:
        click.echo(json.dumps([dict(zip(_KEYS, row, strict=True)) for row in rows], indent=2))
        return
    width = max((len(name) for name, *_ in rows), default=0) + 2
    for name, title, question, seconds, quick_seconds in rows:
        took = "its data are not here"
        if seconds is not None and quick_seconds is not None:
            took = f"{in_words(seconds)}, --quick {in_words(quick_seconds)}"
        click.echo(f"{name:<{width}}{title} ({took})")
        for line in textwrap.wrap(question, 100 - width):
            click.echo(" " * width + line)


def _print_parts(as_json: bool) -> None:
    """Print what a study file may name, a table a kind."""
    from gradscope.study.spec.parts import study_parts

    tables = study_parts()
    if as_json:
        listed = {kind: [part._asdict() for part in table] for kind, table in tables.items()}
        click.echo(json.dumps(listed, indent=2))
        return
    width = max(len(part.name) for table in tables.values() for part in table) + 4
    for kind, table in tables.items():
        click.echo(f"{kind}:")
        for part in table:
            first, *more = (line for words in _said_of(part) for line in textwrap.wrap(words, 120 - width))
            click.echo(f"  {part.name}".ljust(width) + first)
            for line in more:
                click.echo(" " * width + line)


def _said_of(part: "StudyPart") -> list[str]:
    """Return what is said of a part, each on a line of its own."""
    number = f"{part.form}: {part.number}" if part.number else ""
    reference = f"[{part.reference}]" if part.reference else ""
    return [words for words in (part.meaning or "-", number, reference) if words]


def _seconds(spec: "StudySpec", out: "Place") -> int | None:
    """Return the seconds that the whole study takes on all processors, None where its data are missing."""
    from gradscope.study.running.expected import expected_seconds
    from gradscope.study.running.workers import default_workers
    from gradscope.study.spec.grid import expand_grid

    try:
        trials = expand_grid(spec)
    except UsageError:
        return None
    return round(expected_seconds(trials, out / "runs" / spec.name, default_workers(), fresh=True))

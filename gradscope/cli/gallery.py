"""`gradscope gallery`: every built-in study's page, and the list of what each found."""

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import click

from gradscope.cli.places import typed_place
from gradscope.errors import GradscopeError

if TYPE_CHECKING:
    from gradscope.runs.places import Place


@click.command(epilog="Example: gradscope gallery --out reports sine forecast")
@click.argument("names", nargs=-1, metavar="[NAME]...")
@click.option(
    "--out",
    type=typed_place,
    default="reports",
    metavar="DIR",
    show_default=True,
    help="Folder of the pages, or its URL: s3://bucket/folder.",
)
@click.option("--quick", is_flag=True, help="Smaller grids and fewer iterations.")
@click.option("--list-only", is_flag=True, help="Write README.md from the pages that are there; run nothing.")
def command(names: tuple[str, ...], out: "Place", quick: bool, list_only: bool) -> None:
    """Run every built-in study, or those named; write all pages and README.md, which says what each found.

    Trials that are finished on disk are not trained again. A study that fails keeps no other from being run.
    """
    failed = [] if list_only else [name for name in names or _all_names() if not _runs(name, out, quick=quick)]
    from gradscope.reporting.gallery import write_list

    click.echo(f"list: {write_list(out)}")
    _complain(failed)


def _all_names() -> list[str]:
    """Return the names of all studies, as `gradscope studies` lists them."""
    listed = subprocess.run([*_GRADSCOPE, "studies", "--json"], capture_output=True, text=True, check=True)
    return [study["name"] for study in json.loads(listed.stdout)]


def _runs(name: str, out: "Place", *, quick: bool) -> bool:
    """Run one study, as a user would; what it says is shown.

    Returns:
        Whether it came to its end.

    Raises:
        GradscopeError: the user interrupted it.
    """
    words = ["study", name, *(["--quick"] if quick else []), *(["--out", str(out)] if str(out) != "reports" else [])]
    click.echo(f"gradscope {' '.join(words)}", err=True)
    from gradscope.study.running.interrupts import interrupts_ignored, termination_interrupts

    with termination_interrupts(), subprocess.Popen([*_GRADSCOPE, *words]) as study:
        try:
            return study.wait() == 0
        except KeyboardInterrupt:
            with interrupts_ignored():
                _stop(study)
            raise GradscopeError(
                "interrupted: the same command goes on from there, with what is finished taken from disk"
            ) from None


def _stop(study: "subprocess.Popen[bytes]") -> None:
    """Wait until a study has stopped in order; tell it to, unless it heard Ctrl-C as well."""
    try:
        study.wait(_HEARD_SECONDS)
    except subprocess.TimeoutExpired:
        study.terminate()
        study.wait()


def _complain(failed: list[str]) -> None:
    """Say which studies failed.

    Raises:
        GradscopeError: if any did.
    """
    if failed:
        raise GradscopeError(f"not run to the end, each for the reason that it said: {', '.join(failed)}")


# By then a study that heard Ctrl-C is stopping, and does not mind to be told again.
_HEARD_SECONDS = 2

_GRADSCOPE = (sys.executable, "-m", "gradscope")

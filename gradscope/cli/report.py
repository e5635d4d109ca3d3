"""`gradscope report`: the HTML page of one run, or of several side by side."""

from typing import TYPE_CHECKING

import click

from gradscope.cli.places import typed_place

if TYPE_CHECKING:
    from gradscope.runs.places import Place


@click.command(epilog="Example: gradscope report runs/demo -o demo.html")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=typed_place)
@click.option(
    "-o",
    "--output",
    type=typed_place,
    metavar="FILE",
    help="Where to write it. Default: the run's name with .html, in this folder; runs.html for several.",
)
def command(runs: "tuple[Place, ...]", output: "Place | None") -> None:
    """Write the HTML page of one run, or of several side by side.

    RUN is a folder that watch(run=...) wrote to, finished or not, or its URL, such as s3://bucket/folder. The page is
    one file that needs nothing else. A page that is already there is replaced once the new one is whole.
    """
    from gradscope.reporting import report

    click.echo(report(list(runs), _default_output(runs) if output is None else output))


def _default_output(runs: "tuple[Place, ...]") -> "Place":
    return typed_place("runs.html") if len(runs) > 1 else typed_place(f"{runs[0].resolve().name or 'run'}.html")

"""`gradscope report`: the HTML page of one run, or of several side by side."""

from pathlib import Path

import click


@click.command(epilog="Example: gradscope report runs/demo -o demo.html")
@click.argument("runs", nargs=-1, required=True, metavar="RUN...", type=click.Path(path_type=Path))
@click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Where to write it. Default: the run's name with .html, in this folder; runs.html for several.",
)
def command(runs: tuple[Path, ...], output: Path | None) -> None:
    """Write the HTML page of one run, or of several side by side.

    RUN is a folder that watch(run=...) wrote to, finished or not. The page is one file that needs nothing else. A page
    that is already there is replaced once the new one is whole.
    """
    from gradscope.reporting import report

    click.echo(report(list(runs), _default_output(runs) if output is None else output))


def _default_output(runs: tuple[Path, ...]) -> Path:
    return Path("runs.html") if len(runs) > 1 else Path(f"{runs[0].resolve().name or 'run'}.html")

"""`gradscope view`: pages in the browser; those of a folder over HTTP, from this machine to itself alone."""

import re
import threading
import webbrowser
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gradscope.errors import GradscopeError, UsageError

if TYPE_CHECKING:
    from gradscope.cli.page_server import PageServer

_RUN_FILE = "run.json"  # As of gradscope.runs.layout, whose package would bring pandas.
_PAGE = ".html"


@click.command(epilog="Example: gradscope view reports")
@click.argument("page", default="reports", metavar="[FILE|DIR]", type=click.Path(path_type=Path))
@click.option("--port", type=click.IntRange(1, 65535), help="Where to serve a folder; any that is free if left out.")
@click.option("--no-browser", is_flag=True, help="Print the address, and open nothing.")
def command(page: Path, port: int | None, no_browser: bool) -> None:
    """Open a page in the browser, or a folder of them ("reports" if left out).

    The pages of a folder are served to this machine alone, until Ctrl-C. Nothing else in it can be asked for.
    """
    _refuse_what_is_no_page(page)
    if page.is_dir():
        _serve(page, port or 0, no_browser=no_browser)
    else:
        _open_file(page, port, no_browser=no_browser)


def _open_file(page: Path, port: int | None, *, no_browser: bool) -> None:
    """Open a page as it lies there.

    Raises:
        UsageError: a port was given.
        GradscopeError: there is no browser.
    """
    if port is not None:
        raise UsageError("--port is for a folder: a file is opened without a server")
    address = page.resolve().as_uri()
    click.echo(address)
    if not no_browser and not webbrowser.open(address):
        raise GradscopeError(f"there is no browser here: open {address} in one yourself")


def _refuse_what_is_no_page(given: Path) -> None:
    """Say what to do about anything that is neither a page nor a folder with pages.

    Raises:
        UsageError: it is a run, or no page by its name.
        GradscopeError: it is not there, cannot be read, or holds no page.
    """
    run = given if (given / _RUN_FILE).is_file() else given.parent if given.name == _RUN_FILE else None
    if re.match(r"\w{2,}:/", str(given)):
        raise UsageError(f"{given}: view opens what lies on this machine; expected a file or a folder")
    if run is not None:
        raise UsageError(f"{run} is a run, and no page yet: gradscope report {run} makes one")
    if not given.exists():
        raise GradscopeError(
            f"{given} does not exist: gradscope study NAME writes pages into reports, gradscope report RUN writes one"
        )
    if not given.is_dir() and given.suffix.lower() != _PAGE:
        raise UsageError(f"{given} is no page: expected a file that ends in {_PAGE}, or a folder of them")


def _serve(folder: Path, port: int, *, no_browser: bool) -> None:
    """Serve the pages of a folder until Ctrl-C.

    Raises:
        GradscopeError: there is no page, or the port cannot be had.
    """
    from gradscope.cli.page_server import PageServer, pages_of

    try:
        if not pages_of(folder):
            raise GradscopeError(
                f"there is no page in {folder}: gradscope report RUN -o {folder / 'run.html'} makes one"
            )
    except OSError as error:
        raise GradscopeError(f"{folder} cannot be read: {error.strerror or error}") from error
    try:
        server = PageServer(folder, port)
    except OSError as error:
        raise GradscopeError(
            f"cannot serve on port {port}: {error.strerror or error}. Give another with --port, or leave it out"
        ) from error
    _until_interrupted(server, no_browser=no_browser)


def _until_interrupted(server: "PageServer", *, no_browser: bool) -> None:
    with server:
        try:
            click.echo(server.address)
            click.echo("Ctrl-C ends it.", err=True)
            if not no_browser:
                # Beside the server, since a browser in the terminal returns only when it is closed.
                threading.Thread(target=_show, args=(server.address,), daemon=True).start()
            server.serve_forever()
        except KeyboardInterrupt:
            click.echo(err=True)


def _show(address: str) -> None:
    if not webbrowser.open(address):
        click.echo(f"There is no browser here: open {address} in one yourself.", err=True)

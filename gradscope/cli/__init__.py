"""The command `gradscope`: one file a command, each importing what it needs only when it runs."""

import errno
import importlib
import io
import os
import sys
from typing import Any

import click

from gradscope import __version__
from gradscope.errors import GradscopeError, UsageError

_COMMANDS = {
    "study": "Train a grid of recurrent models, compare their gradients, write one report.",
    "studies": "List the built-in studies.",
    "gallery": "Run every built-in study; write all pages, and what each found.",
    "run": "Watch a training script that stays as it is.",
    "report": "Write the HTML report of one run, or of several side by side.",
    "diagnose": "Say what is wrong in a run, with evidence and advice.",
    "view": "Open a page, or a folder of pages, in the browser.",
    "overhead": "Measure what watching costs on this machine.",
}


class _LazyGroup(click.Group):
    """Loads a command's module when that command runs, so that `--help` pays for neither torch nor seaborn."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command: click.Command = importlib.import_module(f"gradscope.cli.{cmd_name}").command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        with formatter.section("Commands"):
            formatter.write_dl(list(_COMMANDS.items()))

    def main(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - as of click
        """Return what the command does; that the output goes to a full disk is said in one message too.

        Raises:
            OSError: of any other kind: nothing that a user did.
        """
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):  # A terminal or pipe that knows ASCII only gets \xd7 for a sign.
                stream.reconfigure(errors="backslashreplace")
        try:
            return super().main(*args, **kwargs)
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            print(f"Error: cannot write the output: {error.strerror}.", file=sys.stderr)
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # What is left in the buffer fails as well.
            sys.exit(1)

    def invoke(self, ctx: click.Context) -> Any:  # noqa: ANN401 - whatever a command returns
        """Return what the command returns; what the user got wrong is said in one message, without a traceback."""
        try:
            return super().invoke(ctx)
        except GradscopeError as error:
            raise (_WrongUse if isinstance(error, UsageError) else click.ClickException)(str(error)) from error


class _WrongUse(click.ClickException):
    exit_code = 2


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "color": False if os.environ.get("NO_COLOR") else None},
    epilog="Example: gradscope study vanishing --quick",
)
@click.version_option(__version__, prog_name="gradscope")
def main() -> None:
    """See how gradients travel back through time while a recurrent model trains."""

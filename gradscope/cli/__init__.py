"""The command `gradscope`: one file a command, each importing what it needs only when it runs."""

import importlib

import click

from gradscope.errors import GradscopeError, UsageError

_COMMANDS = {
    "study": "Train a grid of recurrent models, compare their gradients, write one report.",
    "studies": "List the built-in studies.",
    "report": "Write the HTML report of one or several runs.",
    "diagnose": "Say what is wrong in a run, with evidence and advice.",
    "overhead": "Measure what watching costs on this machine.",
}


class _LazyGroup(click.Group):
    """Loads a command's module when that command runs, so that `--help` costs no import of torch or seaborn."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        if cmd_name not in _COMMANDS:
            return None
        command = importlib.import_module(f"gradscope.cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        return command

"""Command lines as a document shows them, parsed by the real command and not run."""

import shlex

import click

from gradscope.cli import main

COMMANDS = tuple(main.list_commands(click.Context(main)))


def parse(line: str) -> click.Context:
    """Parse `gradscope COMMAND ...` down to the last option; click.UsageError if it does not."""
    program, name, *arguments = shlex.split(line, comments=True)
    assert program == "gradscope"
    # With the settings of the real one: click keeps a command's help option as it was when first asked for.
    parent = click.Context(main, info_name=program, **main.context_settings)
    command = main.get_command(parent, name)
    if command is None:
        raise click.UsageError(f"gradscope has no command {name}")
    return command.make_context(name, arguments, parent=parent)

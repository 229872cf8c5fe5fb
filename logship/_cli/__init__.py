"""The `logship` command: one small module for each subcommand, imported only when it is called.

The import is lazy, because `logship run` is the entrypoint of containers and must start fast. It
does not load the modules of other commands.
"""

from __future__ import annotations

import importlib
import signal
import sys
from typing import Any

import click

from logship import _system
from logship._cli.common import ending_with
from logship._quoting import visible
from logship._spelling import nearest
from logship._version import __version__

COMMANDS = {
    "audit": "Prove from the sidecar's output files that no record is missing.",
    "doctor": "Check from here that records would arrive.",
    "lint": "Find mistakes in deployment files that would lose logs.",
    "pipe": "Ship the lines of standard input.",
    "plan": "Calculate sizes and costs of a deployment from its load.",
    "recover": "Ship what dead processes left on a spool.",
    "run": "Run a program, and ship what it prints.",
    "top": "Watch what the processes of this container log, buffer and lose.",
    "receive": "Run the embedded sidecar: a forward server that writes JSON lines.",
}
"""Subcommand and its line in the help; each lives in `logship._cli.<name>.command`."""

SYSTEMS: dict[str, tuple[str, ...]] = {"run": ("Linux",), "recover": ("Linux", "macOS")}
"""Subcommands that need a system that offers more than others."""


class LazyGroup(click.Group):
    """A group that knows its subcommands by name and imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the subcommands' names in alphabetical order."""
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the subcommand `cmd_name`, or return None if there is no such subcommand."""
        if cmd_name not in COMMANDS or not is_possible_here(cmd_name):
            return None
        command = importlib.import_module(f"logship._cli.{cmd_name}").command
        assert isinstance(command, click.Command)
        command.short_help = COMMANDS[cmd_name]  # for completion
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand, or suggest one with a similar name. `help` is as `--help`.

        Raises:
            click.UsageError: There is no such subcommand, or not on this system.
        """
        if args[0] == "help" and not ctx.resilient_parsing:
            if not args[1:]:
                click.echo(ctx.get_help(), color=ctx.color)
                ctx.exit()
            args = [args[1], "--help"]
        name = args[0]
        is_mistyped = name not in COMMANDS and not name.startswith("-")
        if is_mistyped and not ctx.resilient_parsing:
            meant = nearest(name, COMMANDS)
            hint = f"Did you mean {meant!r}?" if meant else f"Give one of {', '.join(COMMANDS)}."
            ctx.fail(f"No such command {name!r}. {hint}")
        if name in COMMANDS and not is_possible_here(name) and not ctx.resilient_parsing:
            ctx.fail(f"{name} needs {' or '.join(SYSTEMS[name])}, and this is {_system.NAME}.")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: click.Context) -> Any:
        """Invoke the subcommand; text in its errors begins no line and no escape sequence.

        Their exit code is right also where they cannot be written: 1 may mean a loss. So Ctrl-C has
        a code of its own, also while the subcommand is imported.
        """
        try:
            return super().invoke(ctx)
        except click.ClickException as error:
            error.message = visible(error.message)  # type: ignore[misc]
            with ending_with(sys.stderr):
                error.show()
            ctx.exit(error.exit_code)
        except KeyboardInterrupt:
            ctx.exit(128 + signal.SIGINT)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of subcommands without importing any of them."""
        with formatter.section("Commands"):
            formatter.write_dl(sorted(COMMANDS.items()))


def is_possible_here(name: str) -> bool:
    """Return whether this operating system has the means for a subcommand."""
    return _system.NAME in SYSTEMS.get(name, (_system.NAME,))


@click.command(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, "-V", "--version", prog_name="logship")
def main() -> None:
    """Ship application logs to a Fluentd or Fluent Bit sidecar, and lose none.

    Completion in bash: eval "$(_LOGSHIP_COMPLETE=bash_source logship)". For zsh and fish, use
    zsh_source and fish_source.
    """

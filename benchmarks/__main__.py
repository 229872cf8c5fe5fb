"""The command line of the benchmarks: `python -m benchmarks --help`."""

from __future__ import annotations

import importlib
import signal

import click

from benchmarks.compose.command import compose
from benchmarks.demo import demo
from benchmarks.loss import loss
from benchmarks.processes import kill_children
from benchmarks.proof import proof


class Commands(click.Group):
    """A group that imports what measures performance when a command of it is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all commands."""
        self._add_measures()
        return super().list_commands(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, or None if there is no such command."""
        if cmd_name not in self.commands:
            self._add_measures()
        return super().get_command(ctx, cmd_name)

    def _add_measures(self) -> None:
        for command in importlib.import_module("benchmarks.performance.commands").COMMANDS:
            self.add_command(command)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Measure what logship promises, with real processes and an independent ledger."""
    # As after Ctrl-C, a command ends what it started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


for command in (compose, demo, loss, proof):
    main.add_command(command)

if __name__ == "__main__":
    try:
        main(prog_name="python -m benchmarks")
    finally:
        kill_children()

"""The help of every command in docs/cli.md, from the code."""

from __future__ import annotations

import copy
from collections.abc import Iterator

import click

from logship._cli import main

WIDTH = 80


def sections() -> str:
    """Return one section for each command."""
    return "".join(_sections())


def _sections() -> Iterator[str]:
    group = main.make_context("logship", [], resilient_parsing=True, terminal_width=WIDTH)
    yield _section("logship", main.get_help(group))
    for name in main.list_commands(group):
        command = copy.copy(main.get_command(group, name))
        assert command is not None
        # A command that a test has called without its group remembers `--help` alone.
        command._help_option = None
        context = click.Context(command, group, name, terminal_width=WIDTH)
        yield _section(f"logship {name}", command.get_help(context))


def _section(name: str, text: str) -> str:
    return f"## {name}\n\n```text\n{text}\n```\n\n"

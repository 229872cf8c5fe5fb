"""Lines on standard output, for a person."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable

import click

from logship.quoting import visible


def show(lines: Iterable[str]) -> None:
    """Print lines in any encoding of the terminal: an error here would look like a verdict.

    What they quote of files and servers begins no line and no escape sequence of its own.
    """
    encoding = sys.stdout.encoding or "utf-8"
    for line in lines:
        click.echo(visible(line).encode(encoding, "backslashreplace").decode(encoding))
    with contextlib.suppress(OSError):
        sys.stdout.flush()

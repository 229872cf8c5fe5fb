"""Lines on standard output, for a person."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

import click

from logship._quoting import visible


def show(lines: Iterable[str], colours: Mapping[str, str] | None = None) -> None:
    """Print lines in any encoding of the terminal: an error here would look like a verdict.

    What they quote of files and servers begins no line and no escape sequence of its own.

    Args:
        lines: Without their ends.
        colours: How a line begins, and the colour that this beginning gets on a terminal.
    """
    output: TextIO | None = sys.stdout  # None if it was closed before the start
    encoding = (output and output.encoding) or "utf-8"
    if colours is None or output is None or not takes_colours(output):
        colours = {}
    for line in lines:
        text = visible(line).encode(encoding, "backslashreplace").decode(encoding)
        show_text(_with_coloured_beginning(text, colours))


def show_text(text: str) -> None:
    """Print a text. If its reader has gone or the disk is full, the exit code is still right."""
    try:
        click.echo(text)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            click.echo(f"logship: standard output: {error.strerror}", err=True)
        # The rest goes nowhere, also what Python still holds of this and flushes at its end.
        with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), sys.stdout.fileno())


def _with_coloured_beginning(text: str, colours: Mapping[str, str]) -> str:
    beginning = next((each for each in colours if text.startswith(each)), "")
    if not beginning:
        return text
    return click.style(beginning, fg=colours[beginning], bold=True) + text[len(beginning) :]


def takes_colours(stream: IO[Any]) -> bool:
    """Tell whether a stream is a terminal that shows colours, and NO_COLOR does not forbid them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

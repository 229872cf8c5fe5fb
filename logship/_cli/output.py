"""Lines on the standard streams, for a person."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterable, Iterator, Mapping
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
    with ending_with(sys.stdout):
        try:
            click.echo(text)
        except BrokenPipeError:
            raise
        except OSError as error:
            with ending_with(sys.stderr):
                click.echo(f"logship: standard output: {error.strerror}", err=True)
            raise


def say(command: str, text: str) -> None:
    """Write a line to stderr for a command that goes on also where stderr takes nothing."""
    with contextlib.suppress(OSError):
        click.echo(f"logship {command}: {visible(text)}", err=True)


@contextlib.contextmanager
def ending_with(stream: TextIO) -> Iterator[None]:
    """Write to a standard stream. Where it takes no more, the rest goes nowhere.

    This is also so for what Python still holds of it and flushes at its end: an error there would
    change the exit code.
    """
    try:
        yield
    except OSError:
        with contextlib.suppress(OSError), Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), stream.fileno())


def _with_coloured_beginning(text: str, colours: Mapping[str, str]) -> str:
    beginning = next((each for each in colours if text.startswith(each)), "")
    if not beginning:
        return text
    return click.style(beginning, fg=colours[beginning], bold=True) + text[len(beginning) :]


def takes_colours(stream: IO[Any]) -> bool:
    """Tell whether a stream is a terminal that shows colours, and NO_COLOR does not forbid them."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

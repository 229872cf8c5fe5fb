"""What several subcommands share: options, wrong settings, metrics, and lines for a person."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TextIO

import click

from logship import _system
from logship._quoting import visible
from logship.errors import LogshipError, SettingsError

stop_timeout_option = click.option(
    "--stop-timeout",
    "stop_timeout_seconds",
    type=float,
    metavar="SECONDS",
    help="Seconds that the orchestrator gives from the stop signal to SIGKILL (default: "
    "LOGSHIP_STOP_TIMEOUT_SECONDS, else 30 under ECS and Kubernetes, 9 elsewhere).",
)
fields_option = click.option(
    "--fields",
    metavar="NAME=VALUE[,...]",
    help="Fields of every record (default: LOGSHIP_FIELDS, else none).",
)
redact_option = click.option(
    "--redact",
    metavar="RULES",
    help="Take secrets out of records: 'default', or names of rules with commas between (default: "
    "LOGSHIP_REDACT, else none).",
)
metrics_port_option = functools.partial(
    click.option,
    "--metrics-port",
    type=click.IntRange(0, 65535),
    metavar="N",
    help="Serve metrics on this port (default: LOGSHIP_METRICS_PORT, else none); 0 is any free "
    "port, printed on stderr.",
)

_STALL_SECONDS = 0.1
"""How long a line to stderr waits for the reader."""


class NotUsable(click.ClickException):
    """A file or an address cannot be used. It is shown without the usage, and is no verdict."""

    exit_code = 2


class NamedPath(click.Path):
    """A path. An empty one, as of an unset variable, would become the working directory."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path."""
        if not value:
            self.fail("it has no name", param, ctx)
        return super().convert(value, param, ctx)


class FiniteRange(click.FloatRange):
    """Numbers within bounds. `nan` is within every bound for click, and no wait may take `inf`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the number."""
        number = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number", param, ctx)
        return number


def read_by(read: Callable[[Any], Any]) -> Callable[[click.Context, click.Parameter, Any], Any]:
    """Return a callback of an option: it returns what `read` does, and shows errors as usage."""

    def callback(ctx: click.Context, param: click.Parameter, value: Any) -> Any:
        try:
            return read(value)
        except LogshipError as error:
            raise click.BadParameter(str(error), ctx, param) from None

    return callback


def only_given(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options that were given: the environment decides about the others."""
    return {name: value for name, value in options.items() if value is not None}


@contextlib.contextmanager
def wrong_settings_are_usage() -> Iterator[None]:
    """Show a wrong setting as any other wrong usage, wherever it is noticed, and with its code.

    Raises:
        click.UsageError: In place of a `SettingsError`.
    """
    try:
        yield
    except SettingsError as error:
        raise click.UsageError(str(error)) from None


def serve_metrics(command: str, host: str, port: int, counts: object, *measures: Any) -> None:
    """Serve numbers of a subcommand, as `CountsCollector` takes them, and say where.

    Raises:
        click.UsageError: They cannot be served there.
    """
    from logship._metrics import prometheus  # noqa: PLC0415 - only where it is wanted

    try:
        collector = prometheus.CountsCollector(counts, *measures)
        endpoint = prometheus.Endpoint(prometheus.resolved(host), port, collector)
    except OSError as error:
        reason = error.strerror or str(error)
        raise click.UsageError(f"metrics cannot be served on {host}:{port}: {reason}") from None
    say(command, f"metrics are served on {endpoint.url}")


def show(lines: Iterable[str], colours: Mapping[str, str] | None = None) -> None:
    """Print lines in any encoding of the terminal: an error here would look like a verdict.

    What they quote of files and servers begins no line and no escape sequence of its own. On a
    terminal the beginning of a line gets its colour.
    """
    output: TextIO | None = sys.stdout  # None if it was closed before the start
    encoding = (output and output.encoding) or "utf-8"
    if colours is None or not takes_colours(output):
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
    """Write a line to stderr for a command that goes on also where stderr takes nothing.

    If the reader of stderr has stalled, the line is left out.
    """
    with contextlib.suppress(OSError):
        if _system.wait_writable(2, _STALL_SECONDS):
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


def takes_colours(stream: IO[Any] | None) -> bool:
    """Tell whether a stream is a terminal that shows colours, and NO_COLOR does not forbid them."""
    return takes_escapes(stream) and not os.environ.get("NO_COLOR")


def takes_escapes(stream: IO[Any] | None) -> bool:
    """Tell whether a stream is a terminal that understands escape sequences."""
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"

"""`logship top`: watch the processes of this container that log."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from pathlib import Path

import click

from logship import _system
from logship._cli.common import (
    FiniteRange,
    ending_with,
    show,
    show_text,
    takes_escapes,
    wrong_settings_are_usage,
)
from logship._metrics.outlet import pages_directory
from logship._settings import Settings
from logship._top.figures import History, Snapshot
from logship._top.sources import Read, SourceError, read_directory, read_endpoint
from logship._top.text import view_as_json, view_as_lines

HOME_AND_CLEAR = "\x1b[H\x1b[J"
"""Moves the cursor to the first line, and clears from there."""

COLOURS = {"logship top:": "cyan"}


@click.command()
@click.option(
    "--metrics",
    "url",
    metavar="URL",
    help="Read a metrics endpoint, such as http://127.0.0.1:9100/metrics: the sum of processes.",
)
@click.option(
    "--metrics-dir",
    "directory",
    type=click.Path(),
    metavar="DIR",
    help="The directory in which the processes keep their numbers (default: as the settings in the "
    "environment say, with LOGSHIP_METRICS_DIR, LOGSHIP_SPOOL_DIR and LOGSHIP_METRICS_PORT).",
)
@click.option(
    "--interval",
    "interval_seconds",
    type=FiniteRange(min=0.2, max=3600),
    default=2.0,
    metavar="SECONDS",
    help="Time between two readings. Processes write their numbers once a second.",
)
@click.option("--once", is_flag=True, help="Read twice, print once, and end.")
@click.option("--json", "as_json", is_flag=True, help="Like --once, but print one JSON object.")
@wrong_settings_are_usage()
def command(
    url: str | None, directory: str | None, interval_seconds: float, once: bool, as_json: bool
) -> None:
    """Watch what the processes of this container log, buffer and lose.

    The application must publish metrics: set LOGSHIP_METRICS_PORT or LOGSHIP_METRICS_DIR for it.
    Run the command in its container, as its user and with its environment:

    \b
      docker exec -it CONTAINER logship top
      logship top --metrics http://127.0.0.1:9100/metrics --once

    The view has one row for each process and one for all. Ctrl-C ends it. If standard output is no
    terminal, the command prints once.

    \b
      in/s      records accepted in a second
      ack/s     records acknowledged in a second
      buffer    bytes that wait
      full      how full the buffer is; in the last row, the fullest buffer
      left      time until the buffer is full, if it continues to grow as now
      flight    chunks that were sent and are not acknowledged
      last-ack  time since the last ack; > if none came while this command ran
      dropped   records dropped so far
      spilled   records written to stderr so far
      spooled   records that wait on the spool
      sidecar   whether the process has a connection to its sidecar

    The row of all processes also counts what ended processes spilled and dropped.

    \b
    Exit codes:
      0  the numbers were shown
      1  there are no numbers to read
      2  wrong usage, or a wrong setting
    """
    if url and directory:
        raise click.UsageError("give --metrics or --metrics-dir, not both")
    if url and not url.startswith(("http://", "https://")):
        text = f"{url} is not the URL of metrics, such as http://127.0.0.1:9100/metrics"
        raise click.UsageError(f"--metrics: {text}")
    if not (url or _system.IS_POSIX):
        raise click.UsageError(
            f"on {_system.NAME} processes keep their numbers in no directory; give --metrics URL"
        )
    try:
        source = url or directory or str(_directory_of_settings())
        read = read_endpoint(source) if url else read_directory(Path(source))
        if once or as_json or not takes_escapes(sys.stdout):
            _show_once(read, source, interval_seconds, as_json=as_json)
        else:
            _watch(read, source, interval_seconds)
    except SourceError as error:
        raise click.ClickException(str(error)) from None


def _directory_of_settings() -> Path:
    """Return where processes with the same environment keep their numbers.

    Raises:
        SettingsError: The settings are wrong.
        click.UsageError: They ask for no numbers.
    """
    directory = pages_directory(Settings.from_env(os.environ))
    if directory is None:
        raise click.UsageError(
            "the environment does not say where the numbers are. Start the application with "
            "LOGSHIP_METRICS_PORT=9100 or LOGSHIP_METRICS_DIR, and set the same here; or give "
            "--metrics URL (also under `logship run`) or --metrics-dir DIR"
        )
    return directory


def _show_once(read: Read, source: str, interval_seconds: float, *, as_json: bool) -> None:
    history = History()
    history.view(read())
    time.sleep(interval_seconds)
    view = history.view(read())
    if as_json:
        show_text(json.dumps(view_as_json(view), indent=2))
    else:
        show(view_as_lines(view, source), COLOURS)


def _watch(read: Read, source: str, interval_seconds: float) -> None:
    """Draw the view again and again, until Ctrl-C or the end of the terminal."""
    history = History()
    snapshot: Snapshot | None = read()
    error = ""
    try:
        while takes_escapes(sys.stdout):  # it is no terminal any more once that is gone
            columns, rows = shutil.get_terminal_size()
            lines = [error]
            if snapshot is not None:
                lines = [*view_as_lines(history.view(snapshot), source, columns)]
                if len(lines) >= rows:  # the last row is that of all processes
                    lines = [*lines[: rows - 2], lines[-1]]
            with ending_with(sys.stdout):
                click.echo(HOME_AND_CLEAR, nl=False)
            show(lines, COLOURS)
            time.sleep(interval_seconds)
            try:
                snapshot, error = read(), ""
            except SourceError as failure:  # an endpoint, while its process is replaced
                snapshot, error = None, f"{failure}; it tries again"
    except KeyboardInterrupt:
        click.echo()

"""`logship pipe`: ship the lines of standard input."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from logship.errors import SettingsError
from logship.settings import Settings


@click.command()
@click.option(
    "--tag",
    help="Route of the records (default: LOGSHIP_TAG, else FireLens' own for this container, "
    "else 'logship').",
)
@click.option(
    "--stop-timeout",
    type=float,
    metavar="SECONDS",
    help="Between SIGTERM and SIGKILL (default: LOGSHIP_STOP_TIMEOUT_SECONDS, else 30 or 9).",
)
def command(tag: str | None, stop_timeout: float | None) -> None:
    """Ship the lines of standard input.

    A line that is a JSON object becomes that record, any other line a message. A full buffer
    makes us stop reading, so that the writer waits. All other settings come from the
    environment, as LOGSHIP_ENDPOINTS=tcp://127.0.0.1:24224.

    \b
    Exit codes:
      0  every line was acknowledged by the sidecar
      1  not every line was; the drain report on stderr says which, and where they are
      2  usage, or a wrong setting
    """
    settings: dict[str, Any] = {}
    if tag is not None:
        settings["tag"] = tag
    if stop_timeout is not None:
        settings["stop_timeout_seconds"] = stop_timeout
    try:
        chosen = Settings.from_env(os.environ, **settings)
    except SettingsError as error:
        raise click.UsageError(str(error)) from None
    from logship.run.pipe import Pipe  # noqa: PLC0415 - `--help` needs none of it

    report = Pipe(chosen).run()
    sys.exit(0 if report.all_acked else 1)

"""`logship pipe`: ship the lines of standard input."""

from __future__ import annotations

import os
import sys
from typing import Any

import click

from logship import _system
from logship._cli.common import (
    ending_with,
    fields_option,
    only_given,
    redact_option,
    stop_timeout_option,
    wrong_settings_are_usage,
)
from logship._settings import Settings

_READ_BYTES = 64 * 1024


@click.command()
@click.option(
    "--tag",
    metavar="TAG",
    help="Tag of the records (default: LOGSHIP_TAG, else the tag that FireLens routes for this "
    "container, else 'logship').",
)
@stop_timeout_option
@fields_option
@redact_option
@wrong_settings_are_usage()
def command(**given: Any) -> None:
    """Ship the lines of standard input.

    A line that is a JSON object becomes that record; any other line becomes a record's message.
    While the buffer is full, the command reads no more lines, so the writer waits. After a stop
    signal it reads until the input ends, or until the time that is left is needed for delivery;
    lines that come later are written to stderr. All other settings come from the environment, for
    example LOGSHIP_ENDPOINTS=tcp://127.0.0.1:24224.

    With LOGSHIP_DISABLED=1 the command writes its input to standard output.

    \b
    Exit codes:
      0  the sidecar acknowledged every line
      1  it did not acknowledge every line, and the drain report on stderr names the others; or
         the input could not be read to its end
      2  wrong usage, or a wrong setting
    """
    chosen = Settings.from_env(os.environ, **only_given(given))
    if chosen.disabled:
        _pass_on()
        return
    from logship._run.pipe import Pipe  # noqa: PLC0415 - `--help` needs none of it

    _system.open_standard_streams()
    pipe = Pipe(chosen)
    report = pipe.run()
    is_complete = report.all_acked and not report.refused and not pipe.is_input_broken
    sys.exit(0 if is_complete else 1)


def _pass_on() -> None:
    """Write standard input to standard output, as it comes."""
    with ending_with(sys.stdout):
        while data := os.read(0, _READ_BYTES):
            sys.stdout.buffer.write(data)
            sys.stdout.buffer.flush()

"""`logship recover`: ship what dead processes left on a spool."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import click

from logship import _system
from logship._cli.common import (
    NamedPath,
    metrics_port_option,
    only_given,
    say,
    show_text,
    stop_timeout_option,
    wrong_settings_are_usage,
)
from logship._process.clock import margin_seconds
from logship._recover import recover, settings_for_recovery
from logship._spool.inspection import inspect_spool
from logship._spool.spool_directory import SpoolError, make_spool_directory, open_spool_directory


@click.command()
@click.option(
    "--spool",
    type=NamedPath(path_type=Path),
    envvar="LOGSHIP_SPOOL_DIR",
    show_envvar=True,
    required=True,
    metavar="DIR",
    help="The applications' spool_dir.",
)
@click.option(
    "--watch",
    is_flag=True,
    help="Continue until a stop signal, and ship the records of processes that die later.",
)
@click.option("--dry-run", is_flag=True, help="List what is on the spool; ship and change nothing.")
@stop_timeout_option
@metrics_port_option()
@wrong_settings_are_usage()
def command(spool: Path, watch: bool, dry_run: bool, **given: Any) -> None:
    """Ship what dead processes left on a spool.

    Chunks are sent oldest first, with their old ids and stamps. The command does not touch the
    spools of living processes. Several recoverers may share a directory: what one of them ships,
    the others neither touch nor count. With --watch a missing DIR is made if its parent is there.
    All other settings come from the environment, for example
    LOGSHIP_ENDPOINTS=tcp://127.0.0.1:24224. At a stop signal the command makes a last pass. It
    lasts while any process on the spool is alive, at most until the stop timeout. Records that are
    not shipped by then go to stderr and stay on the spool. Without --watch the command ends when it
    has waited for an ack for LOGSHIP_EXIT_STALL_SECONDS (15).

    The result is one JSON line on stdout; with --dry-run, one line for each process.

    \b
    Exit codes:
      0  the sidecar acknowledged all records that were found, or there were none
      1  some records are left or missing, were written to stderr, or could not be read
      2  wrong usage, a wrong setting, or a directory that cannot be used
    """
    try:
        if dry_run:
            for found in inspect_spool(spool):
                show_text(json.dumps(found))
            return
        if watch and make_spool_directory(spool):  # without, a wrong DIR would look complete
            say("recover", f"made {spool} for user {os.geteuid()}")
        os.close(open_spool_directory(spool, any_owner=True))
        settings = settings_for_recovery(**only_given(given))
        if settings.disabled:
            if not watch:
                raise click.UsageError("LOGSHIP_DISABLED is set, so nothing would be shipped")
            # It may share the environment of an application, and must not end.
            say("recover", "LOGSHIP_DISABLED is set, so nothing is shipped")
    except SpoolError as error:
        raise click.UsageError(str(error)) from None
    report = asyncio.run(recover(settings, spool, watches=watch))
    # From here on no signal ends it, so the reader of stdout must not hold it up.
    if _system.wait_writable(1, margin_seconds(settings.stop_timeout_seconds) / 2):
        show_text(report.to_json())
    else:
        say("recover", "standard output takes nothing; the report is left out")
    if not report.complete:
        say("recover", f"incomplete: what was not acked stays on {spool} for the next run")
    sys.exit(0 if report.complete else 1)

"""`python -m benchmarks loss`: one scenario, chosen in every detail."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from benchmarks.campaign import new_directory, run_all
from benchmarks.conditions import conditions
from benchmarks.scenario import (
    APP_NAMES,
    APP_SIGKILL,
    FAULT_NAMES,
    OURS,
    RESTART_SECONDS_MIN,
    SHIPPER_NAMES,
    SIGTERM_HABITS,
    Scenario,
)
from benchmarks.servers import KINDS
from benchmarks.table import Row, as_table, open_console, write_json

STOP_TIMEOUT_SECONDS = click.FloatRange(2, 120)
"""What an orchestrator allows: Fargate's longest is 120."""


@click.command()
@click.option("--shipper", type=click.Choice(SHIPPER_NAMES), default="logship", show_default=True)
@click.option(
    "--app",
    type=click.Choice(APP_NAMES),
    default="script",
    show_default=True,
    help="What logs. A batch ends by itself; the others are stopped with SIGTERM.",
)
@click.option("--rate", type=click.FloatRange(min=1), default=300, show_default=True, metavar="N")
@click.option("--line-chars", type=click.IntRange(40), default=400, show_default=True, metavar="N")
@click.option(
    "--lines",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Log this file's lines (over and over) instead of made-up ones.",
)
@click.option("--seconds", type=click.FloatRange(0.1), default=10, show_default=True, metavar="N")
@click.option(
    "--tail",
    type=click.IntRange(0),
    default=0,
    show_default=True,
    metavar="N",
    help="Lines to log after SIGTERM.",
)
@click.option("--stop-timeout", type=STOP_TIMEOUT_SECONDS, default=10, show_default=True)
@click.option("--fault", type=click.Choice(sorted(FAULT_NAMES)), default="none", show_default=True)
@click.option(
    "--on-sigterm",
    type=click.Choice(SIGTERM_HABITS),
    help="The application's own habit: Python's default, a handler that exits gracefully, or one "
    "that replaces the shipper's.  [default: default for logship, handler for the peers, whose "
    "close() would not run otherwise]",
)
@click.option(
    "--server",
    default="embedded",
    show_default=True,
    metavar="embedded|fluentd|fluent-bit|HOST:PORT",
    help="logship's own receiver; a real server found on PATH (fluentd:NAME for another name); or "
    "one that runs already.",
)
@click.option(
    "--output",
    "outputs",
    multiple=True,
    metavar="GLOB",
    help="Output files of a HOST:PORT (JSON lines, TSV; gzip too). May be repeated.",
)
@click.option(
    "--server-command",
    metavar="COMMAND",
    help="Starts the server at HOST:PORT, so that a --fault can kill and restart it.",
)
@click.option(
    "--settle-seconds",
    type=click.FloatRange(min=0, min_open=True),
    default=5,
    show_default=True,
    metavar="N",
    help="A HOST:PORT has written all when its output did not grow for so long.",
)
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, metavar="N")
@click.option(
    "--together",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    metavar="N",
    help="Runs of a --repeat that may be under way at once.",
)
@click.option(
    "--seed",
    type=int,
    default=1,
    show_default=True,
    metavar="N",
    help=f"Of the moment of --fault {APP_SIGKILL}; each run of a --repeat has the next one.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def loss(repeat: int, together: int, json_file: Path | None, **chosen: Any) -> None:
    """Log, stop, and count what arrived.

    Starts a sidecar and an application, lets it log, sends SIGTERM, kills it after the stop
    timeout, and compares the application's own ledger with the sidecar's output. With a spool,
    `logship recover` runs when the application is gone. Exit code 1 when logship lost a line, left
    something on its spool, or held up the application.
    """
    scenario = Scenario(**_checked(chosen))
    console, directory = open_console(), new_directory("loss")
    rows = run_all([scenario], directory, console, repeat=repeat, together=together)
    console.print(as_table(rows, "Loss"))
    console.print(f"Ledger, output and stderr are in {directory}", soft_wrap=True)
    if json_file:
        write_json(json_file, conditions({"repeat": repeat, **chosen}), rows)
    raise SystemExit(exit_code(rows))


def _checked(chosen: dict[str, Any]) -> dict[str, Any]:
    if chosen["lines"] and not chosen["lines"].stat().st_size:
        raise click.BadParameter(f"{chosen['lines']} has no lines", param_hint="--lines")
    if chosen["fault"] == "sidecar-restart" and chosen["seconds"] < RESTART_SECONDS_MIN:
        raise click.UsageError(
            f"--fault sidecar-restart needs --seconds {RESTART_SECONDS_MIN:g} or more: the sidecar "
            "must be up again before the application is stopped"
        )
    is_ours = chosen["server"].partition(":")[0] in {"embedded", *KINDS}
    if chosen["fault"] != "none" and not (is_ours or chosen["server_command"]):
        raise click.UsageError(
            f"--fault {chosen['fault']} at {chosen['server']} needs --server-command: "
            "how that server is started"
        )
    return chosen


def exit_code(rows: list[Row]) -> int:
    """Return 1 if logship broke its promise; what peers do does not count."""
    ours = [row for row in rows if row.scenario.shipper in OURS]
    return int(not all(outcome.kept_the_promise for row in ours for outcome in row.outcomes))

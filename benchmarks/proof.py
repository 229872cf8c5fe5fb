"""`python -m benchmarks proof` (`make proof`): the matrix behind the promise.

Not every pair of values: each fault meets each stop timeout, each rate and a tail of 100,000
lines, with a stop timeout of 30 s and of 2; each kind of application and of SIGTERM habit meets
the ordinary stop. The peers run through the rows where they differ. Real servers that are on PATH
(Fluentd in each version found, Fluent Bit) get rows of their own, also at a quarter of a CPU.
Applications with a spool are killed very often, at random moments.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import click
from rich.console import Console

from benchmarks.campaign import new_directory, run_all
from benchmarks.conditions import conditions, server_version
from benchmarks.loss import exit_code
from benchmarks.progress import open_progress
from benchmarks.scenario import (
    APP_SIGKILL,
    FAULTS,
    OURS,
    SIDECAR_IS_UP,
    SPOOLING,
    Outcome,
    Scenario,
)
from benchmarks.servers import KINDS, find_servers, numbers_in
from benchmarks.table import Row, as_table, open_console, write_json


@dataclass(frozen=True)
class Part:
    """Rows that belong together."""

    title: str
    scenarios: tuple[Scenario, ...]
    together: int = 1
    """Runs at once; one where a run needs the machine for itself."""
    repeat: int = 1
    """Runs of each row."""


# --- the matrix ----------------------------------------------------------------------------------

LIGHT = Scenario(seconds=6)
BUSY = Scenario(seconds=8, stop_timeout=30)
KILLED = Scenario(shipper=SPOOLING, fault=APP_SIGKILL, seconds=1)
TAIL = Scenario(seconds=5, stop_timeout=30, tail=100_000)
PEERS = ("fluent-logger", "fluent-logger-async")


KILLS = 500


def _parts(servers: dict[str, str], kills: int) -> list[Part]:
    return [
        Part("Kinds of application and of SIGTERM habit", tuple(_kinds()), together=2),
        Part("Every fault, every stop timeout", tuple(_timeouts()), together=3),
        Part("Every fault, higher rates", tuple(_rates())),
        Part("100,000 lines after SIGTERM", tuple(_tails())),
        *_killed(kills),
        Part("A spool, every fault", tuple(_spooled()), together=2),
        Part("The peers, in the same rows", tuple(_peers())),
        *_real_servers(list(servers)),
    ]


def _kinds() -> Iterable[Scenario]:
    for app in ("script", "asyncio", "threads"):
        for habit in (None, "handler", "replaced"):
            yield replace(LIGHT, app=app, on_sigterm=habit)
    for fault in ("none", "sidecar-restart", "sidecar-down"):
        yield replace(LIGHT, app="batch", fault=fault)


def _timeouts() -> Iterable[Scenario]:
    for stop_timeout in (120, 30, 10, 2):
        for fault in FAULTS:
            yield replace(LIGHT, fault=fault, stop_timeout=stop_timeout)


def _rates() -> Iterable[Scenario]:
    for rate in (3_000, 30_000):
        for fault in FAULTS:
            yield replace(BUSY, rate=rate, fault=fault)


def _tails() -> Iterable[Scenario]:
    for fault in FAULTS:
        yield replace(TAIL, fault=fault)
    for fault in FAULTS:  # more than two seconds can write: the application is slowed down
        yield replace(TAIL, fault=fault, stop_timeout=2)
    for app in ("asyncio", "threads"):
        yield replace(TAIL, fault="sidecar-down", stop_timeout=2, app=app)
    for app in ("asyncio", "threads", "batch"):
        yield replace(TAIL, app=app)
    yield replace(TAIL, fault="sidecar-slow", stop_timeout=120)


def _killed(kills: int) -> list[Part]:
    """Return the rows of SIGKILL; a busy application has the machine for itself."""
    title = "SIGKILL at random moments, then logship recover"
    return [
        Part(f"{title}: 300 lines/s", (KILLED,), together=2, repeat=kills),
        Part(f"{title}: 30,000 lines/s", (replace(KILLED, rate=30_000),), repeat=kills),
    ]


def _spooled() -> Iterable[Scenario]:
    for fault in FAULTS:
        yield replace(LIGHT, shipper=SPOOLING, fault=fault)


def _peers() -> Iterable[Scenario]:
    for peer in PEERS:
        for fault in FAULTS:
            yield replace(LIGHT, shipper=peer, fault=fault)
        yield replace(LIGHT, shipper=peer, on_sigterm="default")
        for fault in ("none", "sidecar-slow", "sidecar-down"):
            yield replace(TAIL, shipper=peer, fault=fault)


def _real_servers(servers: list[str]) -> list[Part]:
    """Return all faults for the newest server of a kind, the two hardest for the others."""
    return [
        Part(f"{kind}, buffering in files", tuple(_rows_of_servers(names)))
        for kind in KINDS
        if (names := [server for server in servers if server.startswith(kind)])
    ]


def _rows_of_servers(servers: list[str]) -> Iterable[Scenario]:
    for server in servers:
        yield replace(LIGHT, server=server, fault="sidecar-restart", stop_timeout=30)
        yield replace(TAIL, server=server, fault="sidecar-slow", stop_timeout=120)
    newest = servers[-1]
    for fault in ("none", "sidecar-slow", "sidecar-down", "sidecar-stops-too"):
        yield replace(LIGHT, server=newest, fault=fault)
    for rate in (3_000, 30_000):
        yield replace(BUSY, server=newest, rate=rate)
    for peer in PEERS:
        yield replace(TAIL, server=newest, shipper=peer, fault="sidecar-slow")


def servers_by_version() -> dict[str, str]:
    """Return one `--server` for each version of each real server on PATH, oldest first."""
    found: dict[str, str] = {}
    for kind in KINDS:
        names = {server_version(name): f"{kind}:{name}" for name in find_servers(kind)}
        for version in sorted(names, key=numbers_in):
            found[names[version]] = version
    return found


# --- the command ---------------------------------------------------------------------------------


@click.command()
@click.option(
    "--kills",
    type=click.IntRange(1),
    default=KILLS,
    show_default=True,
    metavar="N",
    help="SIGKILLs of an application with a spool, at each of two rates.",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def proof(kills: int, json_file: Path | None) -> None:
    """Run the loss matrix (40 minutes) and write its figures.

    Exit code 1 if logship broke its promise in any row, as `loss` judges it, or if a sidecar that
    was up does not have a line that was logged before intake closed.
    """
    console, directory = open_console(), new_directory("proof")
    with open_progress(console) as progress:
        progress.add_task("looking for servers on PATH", total=None, step="")
        servers = servers_by_version()
    under_what = conditions({"kills": kills}) | {"servers": servers}
    rows: list[Row] = []
    for part in _parts(servers, kills):
        rows += _show(part, directory, console)
        if json_file:  # after each part: an interruption leaves what was measured
            write_json(json_file, under_what, rows)
    missed = _conclude(rows, console)
    raise SystemExit(exit_code(rows) or missed)


def _show(part: Part, directory: Path, console: Console) -> list[Row]:
    rows = run_all(
        part.scenarios,
        directory,
        console,
        repeat=part.repeat,
        together=part.together,
        ended=_tidy,
    )
    console.print(as_table(rows, part.title))
    return rows


def _tidy(outcome: Outcome) -> None:
    """Keep the files of a run only where something is wrong: the matrix writes gigabytes."""
    if outcome.kept_the_promise and not _missed(outcome):
        shutil.rmtree(outcome.directory)


def _missed(outcome: Outcome) -> bool:
    """Return whether logship left out lines that a sidecar that was up should have."""
    scenario = outcome.scenario
    is_up = scenario.fault in SIDECAR_IS_UP
    return scenario.shipper in OURS and is_up and not outcome.reached_the_sidecar


def _conclude(rows: list[Row], console: Console) -> int:
    """Print the verdict; return 1 if a line did not reach a sidecar that was up."""
    ours = [outcome for row in rows if row.scenario.shipper in OURS for outcome in row.outcomes]
    written = sum(outcome.verdict.written for outcome in ours)
    lost = sum(outcome.verdict.lost for outcome in ours)
    console.print(f"logship: {len(ours)} runs, {written:,} lines written, {lost:,} lost.")
    broken = [outcome.directory.name for outcome in ours if not outcome.kept_the_promise]
    if broken:
        console.print(f"[bold red]The promise was broken:[/] {', '.join(broken)}.")
    missed = [outcome.directory.name for outcome in ours if _missed(outcome)]
    if missed:
        console.print(f"[bold red]Not all lines at a sidecar that was up:[/] {', '.join(missed)}.")
        return 1
    up = [outcome for outcome in ours if outcome.scenario.fault in SIDECAR_IS_UP]
    late = sum(outcome.verdict.late for outcome in up)
    console.print(
        f"A sidecar that was up has all lines except {late:,} logged when intake was closed."
    )
    return 0

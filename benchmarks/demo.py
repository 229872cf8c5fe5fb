"""`python -m benchmarks demo` (`make demo`): a first demonstration.

Three things that happen to a sidecar, three shippers, 300 lines/s of 400 characters each; then a
verdict in words, and the commands to check it without believing this program.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import click
from rich.console import Console

from benchmarks.campaign import new_directory, run_all
from benchmarks.conditions import conditions
from benchmarks.loss import exit_code
from benchmarks.scenario import RESTART_SECONDS_MIN, Outcome, Scenario
from benchmarks.table import ALL_FIGURES, LATE, LEFT, Row, as_table, open_console, write_json

FAULT_STORIES = {
    "none": "The sidecar lives",
    "sidecar-restart": "The sidecar is killed in mid-run and is up again after 2 s",
    "sidecar-down": "The sidecar is killed 1 s before the program is stopped, and stays down",
}

SHIPPERS = ("logship", "fluent-logger", "fluent-logger-async")

FIGURES_SHOWN = [figure for figure in ALL_FIGURES if figure not in {"lines/s", LATE, LEFT}]

RUNS_TOGETHER = 2
"""A run of 300 lines/s takes a few per cent of a CPU: two at a time do not disturb each other."""


@click.command()
@click.option(
    "--seconds",
    type=click.FloatRange(RESTART_SECONDS_MIN),
    default=10,
    show_default=True,
    metavar="N",
)
def demo(seconds: float) -> None:
    """Show logship beside fluent-logger while a sidecar lives, restarts, dies (90 s)."""
    console, directory = open_console(), new_directory("demo")
    _introduce(console, seconds)
    rows = run_all(_scenarios(seconds), directory, console, together=RUNS_TOGETHER)
    for fault, story in FAULT_STORIES.items():
        _show(console, [row for row in rows if row.scenario.fault == fault], story)
    write_json(directory / "demo.json", conditions({"seconds": seconds}), rows)
    parts = (_verdict(rows), _gains(rows), _costs(rows), _how_to_check(rows, directory))
    for line in (line for part in parts for line in ("", *part)):
        console.print(line, soft_wrap=True, highlight=False, markup=False)
    raise SystemExit(exit_code(rows))


def _scenarios(seconds: float) -> list[Scenario]:
    return [
        Scenario(shipper=shipper, fault=fault, seconds=seconds)
        for fault in FAULT_STORIES
        for shipper in SHIPPERS
    ]


def _introduce(console: Console, seconds: float) -> None:
    console.print(
        f"A program logs 300 lines/s of 400 characters for {seconds:g} s through a sidecar, then "
        "gets SIGTERM and 10 s to end.\nEach line is noted in a ledger by the program itself, "
        "and searched for in the sidecar's output. LOST lines are in no output and undeclared."
    )


def _show(console: Console, rows: list[Row], story: str) -> None:
    console.print()
    console.print(as_table(rows, story, FIGURES_SHOWN))


# --- the verdict ---------------------------------------------------------------------------------


def _verdict(rows: list[Row]) -> list[str]:
    return ["Verdict", *(f"  {_summary(shipper, rows)}" for shipper in SHIPPERS), _FAIRNESS]


def _summary(shipper: str, rows: list[Row]) -> str:
    verdicts = [row.outcomes[0].verdict for row in _rows_of(shipper, rows)]
    lost = sum(verdict.lost for verdict in verdicts)
    spilled = sum(verdict.spilled for verdict in verdicts)
    words = f"{shipper} lost {lost:,} of {sum(verdict.written for verdict in verdicts):,} lines"
    if spilled:
        words += f"; {spilled:,} that the dead sidecar could not take are on the program's stderr"
    return f"{words}."


_FAIRNESS = """\
  (fluent-logger runs as its README advises: with an overflow handler that writes out what it
  gives up, and with close() at the end, for which the program handles SIGTERM. The picture in
  the README is of a harder case: 100,000 lines at the end of a task, and a slow sidecar.)"""


def _gains(rows: list[Row]) -> Iterable[str]:
    arrived = ", ".join(f"{shipper} {_arrived(shipper, rows)}" for shipper in SHIPPERS)
    yield "What it gains"
    yield f"  Lines at a sidecar that lives or comes back: {arrived}."
    yield "  What a dead sidecar did not take, logship names by number and writes to stderr."


def _arrived(shipper: str, rows: list[Row]) -> str:
    verdicts = [
        row.outcomes[0].verdict
        for row in _rows_of(shipper, rows)
        if row.scenario.fault != "sidecar-down"
    ]
    delivered = sum(verdict.delivered for verdict in verdicts)
    return f"{delivered:,} of {sum(verdict.written for verdict in verdicts):,}"


def _costs(rows: list[Row]) -> Iterable[str]:
    yield "What it costs"
    yield "  Seconds from SIGTERM to the program's end, if the sidecar lives, restarts, stays down:"
    for shipper in SHIPPERS:
        outcomes = [row.outcomes[0] for row in _rows_of(shipper, rows)]
        seconds = ", ".join(f"{outcome.stop_seconds:.1f}" for outcome in outcomes)
        duplicates = sum(outcome.verdict.duplicated for outcome in outcomes)
        yield f"    {shipper}: {seconds}; {duplicates:,} lines arrived twice"
    yield "  logship waits for a dead sidecar as long as the stop timeout allows, here 10 s: it may"
    yield "  come back. docs/performance.md has the cost of a logging call, CPU and memory."


def _rows_of(shipper: str, rows: list[Row]) -> list[Row]:
    """Return a shipper's rows, in the order of `FAULT_STORIES`."""
    return [row for row in rows if row.scenario.shipper == shipper]


# --- how to check it -----------------------------------------------------------------------------


def _how_to_check(rows: list[Row], directory: Path) -> Iterable[str]:
    row = next(
        row
        for row in rows
        if row.scenario.shipper == "logship" and row.scenario.fault == "sidecar-restart"
    )
    outcome = row.outcomes[0]
    place = directory / outcome.directory.name
    yield "Check it yourself. Every run left its files; for logship under a restart:"
    yield f"  cd {place}"
    yield "  # lines of the ledger that are not in the sidecar's output (it prints none):"
    yield f"  {missing_by_hand(path.name for path in outcome.outputs)}"
    yield "  # logship's own proof, from the numbers in the records:"
    yield f"  {_audit(outcome, place)}"
    yield f"All figures as JSON: {directory}/demo.json"


def missing_by_hand(outputs: Iterable[str]) -> str:
    """Return the shell command that prints each marker of the ledger that no output holds."""
    pattern = "line-[0-9a-f]{8}-[mt][0-9]{2}-[0-9]{9}-[0-9a-f]{8}"
    noted, arrived = "cut -d' ' -f1 ledger.txt", f"grep -ohE '{pattern}' {' '.join(outputs)}"
    return f"comm -23 <({noted} | sort) <({arrived} | sort -u)"


def _audit(outcome: Outcome, place: Path) -> str:
    program = os.path.relpath(Path(sys.executable).with_name("logship"), place)
    return f"{program} audit {' '.join(p.name for p in outcome.outputs)} --expect app.stderr"

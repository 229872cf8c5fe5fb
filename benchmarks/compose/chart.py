"""`python -m benchmarks compose-chart`: results of `compose --json` as a picture for the README."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import click

from benchmarks.errors import BenchmarkError
from benchmarks.performance.charts import Bar, Heading, as_file, axis_to, bars
from benchmarks.performance.report import write_file

WAYS = {
    "firelens": "Docker's fluentd driver",
    "firelens-sleep": "the same, and a sleep of 5 s",
    "fluent-logger": "fluent-logger",
    "logship": "logship",
    "logship-spool": "logship with a spool",
    "logship-run": "logship run",
}
"""From top to bottom: others first."""

FAULTS = {
    "none": "Fluentd at full speed",
    "sidecar-slow": "Fluentd at a quarter of a CPU",
    "sidecar-restart": "Fluentd killed, and started again 2 s later",
    "sidecar-killed": "Fluentd killed a second before SIGTERM, started again after the end",
    "sidecar-stops-too": "Fluentd stopped together with the application",
}

_LOST_COLOUR = 7


@click.command("compose-chart")
@click.argument(
    "files", type=click.Path(path_type=Path), metavar="RESULTS.json...", nargs=-1, required=True
)
@click.option(
    "--svg",
    "svg_file",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE",
    required=True,
    help="Where to write the picture.",
)
def compose_chart(files: tuple[Path, ...], svg_file: Path) -> None:
    """Draw what `compose --json` has measured: the share of the lines that was lost."""
    try:
        rows = [row for each in files for row in json.loads(each.read_text("utf-8"))["rows"]]
        chart = chart_of(rows)
    except OSError as error:
        raise BenchmarkError(f"cannot read {error.filename}: {error.strerror}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise BenchmarkError("a file holds no results of `compose --json`") from error
    write_file(svg_file, chart)
    click.echo(f"The chart: {svg_file}")


def chart_of(rows: Iterable[dict[str, Any]]) -> str:
    """Return the SVG file; `rows` are those of the JSON."""
    ordered = sorted(rows, key=lambda row: list(WAYS).index(row["course"]["way"]))
    drawn = list(_drawn(sorted(ordered, key=_case, reverse=True)))
    longest = max(row.top for row in drawn if isinstance(row, Bar))
    title = "Log lines lost at the end of a task, per cent of those logged"
    return as_file(bars(title, drawn, axis_to(longest or 1.0, " %", whole=True)))


def _case(row: dict[str, Any]) -> tuple[int, str]:
    return row["course"]["tail"], row["course"]["fault"]


def _drawn(rows: list[dict[str, Any]]) -> Iterator[Heading | Bar]:
    for (tail, fault), group in itertools.groupby(rows, _case):
        burst = f"; {tail:,} lines logged after SIGTERM" if tail else ""
        yield Heading(FAULTS[fault] + burst)
        yield from map(_bar, group)


def _bar(row: dict[str, Any]) -> Bar:
    shares = [100 * run["LOST"] / run["written"] for run in row["runs"]]
    lost, written, spilled = (
        int(row["summary"][figure]["median"]) for figure in ("LOST", "written", "spilled")
    )
    aside = f", {spilled:,} on stderr" if spilled else ""
    return Bar(
        WAYS[row["course"]["way"]],
        [(100 * lost / written, _LOST_COLOUR)],
        f"{lost:,} of {written:,}{aside}",
        (min(shares), max(shares)),
    )

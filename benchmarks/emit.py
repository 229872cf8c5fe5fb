"""`python -m benchmarks emit`: the cost of a record in its thread, with different settings.

Slices take turns in one process, and each slice is compared with that of plain memory of its turn.
The speed of a machine changes from second to second, but ratios of neighbours do not.
"""

from __future__ import annotations

import json
import statistics
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click
from rich.table import Table

from benchmarks.campaign import new_directory
from benchmarks.conditions import conditions
from benchmarks.processes import run_program
from benchmarks.progress import open_progress
from benchmarks.sidecars import running_receiver
from benchmarks.table import open_console, ruled_table

PROGRAM = "benchmarks.emit_program"
PROGRAM_SECONDS_MAX = 1800
BASE = "memory"
FIGURES = ("median_ns", "mean_ns", "p99.9_ns", "max_ns")

Slice = dict[str, Any]


@click.command()
@click.option("--turns", type=click.IntRange(1), default=60, show_default=True)
@click.option("--records", type=click.IntRange(1000), default=20_000, show_default=True)
@click.option(
    "--spool",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the spool is made.  [default: the directory for temporary files]",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def emit(turns: int, records: int, spool: Path | None, json_file: Path | None) -> None:
    """Time `emit` into memory, into a warm spool, and with fields, in turns, sidecar healthy."""
    console, directory = open_console(), new_directory("emit")
    with (
        open_progress(console) as progress,
        tempfile.TemporaryDirectory(prefix="logship-emit-", dir=spool) as spool_directory,
    ):
        progress.add_task("emit", total=None, step=f"{turns} turns of {records:,} records")
        slices = _measure(directory, Path(spool_directory), turns, records)
    console.print(as_table(slices))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        options = {"turns": turns, "records": records, "spool": str(spool or "")}
        document = {"conditions": conditions(options), "slices": slices}
        json_file.write_text(json.dumps(document) + "\n")


def as_table(slices: Sequence[Slice]) -> Table:
    """Return the medians over the slices, and the median and quartiles of the turns' ratios."""
    table = ruled_table("Nanoseconds of a call of emit")
    table.add_column("variant")
    for figure in FIGURES:
        table.add_column(figure.removesuffix("_ns"), justify="right", no_wrap=True)
    variants = dict.fromkeys(each["variant"] for each in slices)
    for variant in variants:
        mine = [each for each in slices if each["variant"] == variant]
        cells = [f"{_over(figure)(each[figure] for each in mine):,.0f}" for figure in FIGURES]
        table.add_row(variant, *cells)
    for variant in [each for each in variants if each != BASE]:
        found = {figure: ratios(slices, variant, figure) for figure in FIGURES}
        table.add_row(f"{variant} / {BASE}", *(_spread(found[figure]) for figure in FIGURES))
    return table


def ratios(slices: Sequence[Slice], variant: str, figure: str) -> list[float]:
    """Return a variant divided by plain memory, for each turn."""
    by_turn: dict[int, dict[str, float]] = {}
    for each in slices:
        by_turn.setdefault(each["turn"], {})[each["variant"]] = each[figure]
    return [turn[variant] / turn[BASE] for turn in by_turn.values()]


def _spread(values: list[float]) -> str:
    """Return the median, with the quartiles in brackets."""
    middle, low, high = (_at(share, values) for share in (0.5, 0.25, 0.75))
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def _over(figure: str) -> Any:
    return max if figure == "max_ns" else statistics.median


def _at(share: float, values: list[float]) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


def _measure(directory: Path, spool: Path, turns: int, records: int) -> list[Slice]:
    with running_receiver(directory) as receiver:
        host, port = receiver.address
        slices: list[Slice] = run_program(
            PROGRAM,
            *(f"tcp://{host}:{port}", spool, turns, records),
            stderr=(directory / "stderr").absolute(),
            seconds_max=PROGRAM_SECONDS_MAX,
        )
    return slices

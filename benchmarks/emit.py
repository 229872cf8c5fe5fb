"""`python -m benchmarks emit`: the cost of a record in its thread, in memory and on the spool.

Slices take turns in one process, and each spool slice is compared with the memory slice of its
pair. The speed of a machine changes from second to second, but ratios of neighbours do not.
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
from benchmarks.sidecars import running_receiver
from benchmarks.table import open_console, ruled_table

PROGRAM = "benchmarks.emit_program"
PROGRAM_SECONDS_MAX = 1800
FIGURES = ("median_ns", "mean_ns", "p99.9_ns", "max_ns")

Slice = dict[str, Any]


@click.command()
@click.option("--pairs", type=click.IntRange(1), default=60, show_default=True)
@click.option("--records", type=click.IntRange(1000), default=20_000, show_default=True)
@click.option(
    "--spool",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Where the spool is made.  [default: the directory for temporary files]",
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def emit(pairs: int, records: int, spool: Path | None, json_file: Path | None) -> None:
    """Time `emit` into memory and into a warm spool, in turns, sidecar healthy."""
    console, directory = open_console(), new_directory("emit")
    with tempfile.TemporaryDirectory(prefix="logship-emit-", dir=spool) as spool_directory:
        slices = _measure(directory, Path(spool_directory), pairs, records)
    console.print(as_table(slices))
    if json_file:
        json_file.parent.mkdir(parents=True, exist_ok=True)
        options = {"pairs": pairs, "records": records, "spool": str(spool or "")}
        document = {"conditions": conditions(options), "slices": slices}
        json_file.write_text(json.dumps(document) + "\n")


def as_table(slices: Sequence[Slice]) -> Table:
    """Return the medians over the slices, and the median and quartiles of the pairs' ratios."""
    table = ruled_table("Nanoseconds of a call of emit")
    table.add_column("storage")
    for figure in FIGURES:
        table.add_column(figure.removesuffix("_ns"), justify="right", no_wrap=True)
    for storage in ("memory", "spool"):
        mine = [each for each in slices if each["storage"] == storage]
        cells = [f"{_over(figure)(each[figure] for each in mine):,.0f}" for figure in FIGURES]
        table.add_row(storage, *cells)
    for name, share in (
        ("lower quartile", 0.25),
        ("spool / memory", 0.5),
        ("upper quartile", 0.75),
    ):
        table.add_row(name, *(f"{_at(share, ratios(slices, each)):.2f}" for each in FIGURES))
    return table


def ratios(slices: Sequence[Slice], figure: str) -> list[float]:
    """Return spool divided by memory, for each pair."""
    by_pair: dict[int, dict[str, float]] = {}
    for each in slices:
        by_pair.setdefault(each["pair"], {})[each["storage"]] = each[figure]
    return [both["spool"] / both["memory"] for both in by_pair.values()]


def _over(figure: str) -> Any:
    return max if figure == "max_ns" else statistics.median


def _at(share: float, values: list[float]) -> float:
    return sorted(values)[round(share * (len(values) - 1))]


def _measure(directory: Path, spool: Path, pairs: int, records: int) -> list[Slice]:
    with running_receiver(directory) as receiver:
        host, port = receiver.address
        slices: list[Slice] = run_program(
            PROGRAM,
            *(f"tcp://{host}:{port}", spool, pairs, records),
            stderr=(directory / "stderr").absolute(),
            seconds_max=PROGRAM_SECONDS_MAX,
        )
    return slices

"""`python -m benchmarks latency`: how long `emit` takes, whatever the sidecar does.

The application's question is not how fast the shipper is but whether logging ever holds it up. So
each call is timed while the sidecar is healthy, runs at a quarter of the time, is dead, or is a
black hole that takes connections and reads nothing; at last with a buffer that is full. Conditions
take turns, and each is compared with the healthy one of the same turn.
"""

from __future__ import annotations

import json
import socket
import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
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

HEALTHY = "healthy"
SIDECARS = (HEALTHY, "slow", "dead", "black hole", "black hole, buffer full")
PLACES = ("thread", "loop")
QUANTILES = {"p50": 0.5, "p99": 0.99, "p99.9": 0.999, "max": 1.0}
PROGRAM = "benchmarks.latency_program"
PROGRAM_SECONDS_MAX = 300.0


@dataclass(frozen=True)
class Run:
    """One program's figures.

    Attributes:
        took_ns: Evenly spaced quantiles of the calls' nanoseconds.
    """

    sidecar: str
    place: str
    turn: int
    took_ns: list[int]

    def quantile_ns(self, share: float) -> int:
        """Return how long the given share of the calls took at most."""
        return self.took_ns[round(share * (len(self.took_ns) - 1))]


@click.command()
@click.option("--records", type=click.IntRange(1000), default=15_000, show_default=True)
@click.option("--rate", type=click.FloatRange(min=1), default=3000, show_default=True)
@click.option("--turns", type=click.IntRange(1), default=3, show_default=True)
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def latency(records: int, rate: float, turns: int, json_file: Path | None) -> None:
    """Time each call of `emit`, in a thread and on an event loop, for every kind of sidecar."""
    console, directory = open_console(), new_directory("latency")
    runs = []
    with open_progress(console) as progress:
        task = progress.add_task("latency", total=turns * len(SIDECARS) * len(PLACES), step="")
        for turn in range(turns):
            for place in PLACES:
                for sidecar in SIDECARS:
                    progress.update(task, step=f"{place}, {sidecar}")
                    took = measure_calls(directory, sidecar, place, records, rate)
                    runs.append(Run(sidecar, place, turn, took))
                    progress.advance(task)
    console.print(as_table(runs, f"Microseconds of a call of emit, {rate:,g} records/s"))
    if json_file:
        _write_json(json_file, {"records": records, "rate": rate, "turns": turns}, runs)


def as_table(runs: list[Run], title: str) -> Table:
    """Return medians over the turns, and how the p99.9 compares with the healthy one's."""
    table = ruled_table(title)
    for label in ("emit in", "sidecar"):
        table.add_column(label)
    for label in (*QUANTILES, "p99.9 / healthy"):
        table.add_column(label, justify="right", no_wrap=True)
    for place in PLACES:
        for sidecar in SIDECARS:
            mine = [run for run in runs if (run.place, run.sidecar) == (place, sidecar)]
            table.add_row(place, sidecar, *_figures(mine), f"{_ratio(mine, runs):.2f}")
    return table


def _figures(runs: list[Run]) -> Iterator[str]:
    for name, share in QUANTILES.items():
        over = max if name == "max" else statistics.median
        yield f"{over(run.quantile_ns(share) for run in runs) / 1000:,.1f}"


def _ratio(runs: list[Run], among: list[Run]) -> float:
    """Return the median over the turns of the p99.9, each divided by its turn's healthy one."""
    healthy = {
        run.turn: run.quantile_ns(0.999)
        for run in among
        if run.sidecar == HEALTHY and run.place == runs[0].place
    }
    return statistics.median(run.quantile_ns(0.999) / healthy[run.turn] for run in runs)


def _write_json(path: Path, options: dict[str, Any], runs: list[Run]) -> None:
    document = {"conditions": conditions(options), "runs": [vars(run) for run in runs]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document) + "\n")


# --- one run -------------------------------------------------------------------------------------


def measure_calls(
    directory: Path, sidecar: str, place: str, records: int, rate: float
) -> list[int]:
    """Run the program once; return evenly spaced quantiles of its calls' nanoseconds."""
    phase = "full" if sidecar.endswith("full") else "open"
    with _endpoint(directory, sidecar) as (host, port):
        took: list[int] = run_program(
            PROGRAM,
            *(f"tcp://{host}:{port}", place, phase, records, rate),
            stderr=(directory / "stderr").absolute(),
            seconds_max=PROGRAM_SECONDS_MAX + records / rate,
        )
    return took


@contextmanager
def _endpoint(directory: Path, sidecar: str) -> Iterator[tuple[str, int]]:
    """Give the address of a sidecar of this kind."""
    if sidecar in (HEALTHY, "slow"):
        with running_receiver(directory) as receiver:
            if sidecar == "slow":
                receiver.throttle()
            yield receiver.address
        return
    with socket.create_server(("127.0.0.1", 0)) as listener:
        address: tuple[str, int] = listener.getsockname()
        if sidecar == "dead":
            listener.close()
        yield address  # the kernel takes the connection, and no program reads it

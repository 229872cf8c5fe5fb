"""`python -m benchmarks compose`: the loss benchmark in containers, as a table and as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
from rich import box
from rich.table import Table

from benchmarks.campaign import new_directory
from benchmarks.compose.course import FAULTS, WAYS, Course, Result, run
from benchmarks.compose.task import build_images, check_docker
from benchmarks.conditions import conditions
from benchmarks.progress import open_progress
from benchmarks.table import ALL_FIGURES, LATE, LEFT, STATISTICS, cell, open_console, run_as_json

STOP_TIMEOUT_SECONDS = click.IntRange(2, 120)
"""What an orchestrator allows: Fargate's longest is 120. Docker takes whole seconds only."""


@click.command()
@click.option(
    "--way",
    "ways",
    type=click.Choice(sorted(WAYS)),
    multiple=True,
    help="How the records get to the sidecar; may be repeated.  [default: all there are]",
)
@click.option(
    "--fault",
    "faults",
    type=click.Choice(sorted(FAULTS)),
    multiple=True,
    default=["sidecar-slow"],
    show_default=True,
    help="What happens to the sidecar; may be repeated.",
)
@click.option(
    "--stop-timeout",
    "stop_timeouts",
    type=STOP_TIMEOUT_SECONDS,
    multiple=True,
    default=[30],
    show_default=True,
    metavar="N",
    help="docker compose stop -t N; may be repeated. Try 2, 10, 30 and 120.",
)
@click.option("--rate", type=click.FloatRange(min=1), default=300, show_default=True, metavar="N")
@click.option("--line-chars", type=click.IntRange(40), default=400, show_default=True, metavar="N")
@click.option("--seconds", type=click.FloatRange(1), default=10, show_default=True, metavar="N")
@click.option(
    "--tail",
    type=click.IntRange(0),
    default=100_000,
    show_default=True,
    metavar="N",
    help="Lines to log after SIGTERM.",
)
@click.option("--repeat", type=click.IntRange(1), default=1, show_default=True, metavar="N")
@click.option("--build/--no-build", default=True, help="Build the images first.  [default: yes]")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def compose(
    ways: tuple[str, ...],
    faults: tuple[str, ...],
    stop_timeouts: tuple[int, ...],
    repeat: int,
    build: bool,
    json_file: Path | None,
    **load: Any,
) -> None:
    """Measure loss in containers, with Docker.

    Brings up the task of docker-compose.yml (application, recoverer and Fluentd in one network
    namespace), lets it log, stops the application with `docker compose stop -t N`, and compares
    the application's own ledger with Fluentd's output. By default Fluentd has a quarter of a CPU,
    and the application logs a last burst. The other ways are FireLens, which is Docker's fluentd
    log driver, also with a sleep on SIGTERM, and fluent-logger. Each combination of --way, --fault
    and --stop-timeout is a row.

    Exit code 1 when logship lost a line, or delivered less than was written though its sidecar
    lived or the recoverer had its spool; 2 when nothing could be measured; what the others lose
    fails nothing.
    """
    chosen = [name for name in WAYS if name in ways or not ways]
    check_docker()
    console = open_console()
    if build:
        with open_progress(console) as progress:
            progress.add_task("building the images", total=None, step="")
            build_images()
    courses = [
        Course(way, fault, timeout, **load)
        for fault, timeout, way in itertools.product(faults, stop_timeouts, chosen)
    ]
    directory = new_directory("compose").absolute()
    options = {"faults": faults, "stop_timeouts": stop_timeouts, "repeat": repeat, **load}
    under = conditions(options)
    rows: list[Row] = []
    for row in _run_all(courses, repeat, directory):
        rows.append(row)
        if json_file:  # after each, so that an error in a later one costs none of these
            write_json(json_file, under, rows)
    console.print(_as_table(rows))
    console.print(f"Ledger, output and logs are in {directory}", soft_wrap=True)
    raise SystemExit(int(not all(row.kept_the_promise for row in rows)))


@dataclass(frozen=True)
class Row:
    """A course and its runs."""

    course: Course
    results: tuple[Result, ...]

    @property
    def kept_the_promise(self) -> bool:
        """Whether logship lost none, and delivered all if its sidecar was up or it has a spool."""
        way = WAYS[self.course.way]
        if not way.is_ours:
            return True
        sidecar_lives = self.course.fault in {"none", "sidecar-slow", "sidecar-restart"}
        must_deliver = sidecar_lives or way.has_recoverer
        return all(
            result.verdict.lost == 0
            and (result.verdict.delivered == result.verdict.written or not must_deliver)
            for result in self.results
        )


def _run_all(courses: Sequence[Course], repeat: int, directory: Path) -> Iterator[Row]:
    """Run one after the other: they share the machine's CPUs."""
    with open_progress(open_console()) as progress:
        bar = progress.add_task("compose", total=len(courses) * repeat, step="")
        for course in courses:
            results = []
            for number in range(repeat):
                progress.update(bar, step=f"{course.way}, {course.fault}")
                name = f"{course.way}-{course.fault}-stop{course.stop_timeout:g}-{number + 1}"
                place = directory / name
                place.mkdir(parents=True)
                results.append(run(course, place))
                progress.advance(bar)
            yield Row(course, tuple(results))


# --- figures -------------------------------------------------------------------------------------

FIGURES = [figure for figure in ALL_FIGURES if figure not in {LATE, LEFT}]


def _as_table(rows: Sequence[Row]) -> Table:
    first = rows[0].course
    load = f"{first.rate:g} lines/s of {first.line_chars} characters, {first.seconds:g} s"
    title = f"Loss in containers ({load}, tail {first.tail:,})"
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    several = len(rows[0].results) > 1
    for label in ["fault", "stop -t", "way", *(["runs"] if several else [])]:
        table.add_column(label)
    for figure in [*FIGURES, "exit"]:
        table.add_column(figure, justify="right", no_wrap=True)
    for row in rows:
        for name, statistic in STATISTICS.items() if several else [("", max)]:
            course = row.course
            labels = [course.fault, f"{course.stop_timeout:g}", course.way]
            cells = [cell(figure, statistic(_values(row, figure))) for figure in FIGURES]
            table.add_row(*labels, *([name] if several else []), *cells, _exits(row))
    return table


def _values(row: Row, figure: str) -> list[float]:
    return [ALL_FIGURES[figure](result) for result in row.results]


def _exits(row: Row) -> str:
    codes = {"SIGKILL" if each.killed else str(each.exit_code) for each in row.results}
    return ", ".join(sorted(codes))


def write_json(path: Path, under: dict[str, Any], rows: Sequence[Row]) -> None:
    document = {"conditions": under, "rows": [_row_as_json(row) for row in rows]}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=1) + "\n")


def _row_as_json(row: Row) -> dict[str, Any]:
    summary = {
        figure: {name: of(_values(row, figure)) for name, of in STATISTICS.items()}
        for figure in FIGURES
    }
    return {
        "course": asdict(row.course),
        "kept_the_promise": row.kept_the_promise,
        "summary": summary,
        "runs": [run_as_json(result, FIGURES) for result in row.results],
    }

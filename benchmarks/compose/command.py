"""`python -m benchmarks compose`: the loss benchmark in containers, as a table and as JSON."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from benchmarks.campaign import new_directory
from benchmarks.compose.course import FAULTS, WAYS, Course, run
from benchmarks.compose.task import build_images, check_docker
from benchmarks.conditions import conditions
from benchmarks.progress import open_progress
from benchmarks.table import Row, as_table, open_console, write_json

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
    rows: list[CourseRow] = []
    for row in _run_all(courses, repeat, directory):
        rows.append(row)
        if json_file:  # after each, so that an error in a later one costs none of these
            write_json(json_file, under, rows)
    console.print(as_table(rows, "Loss in containers"))
    console.print(f"Ledger, output and logs are in {directory}", soft_wrap=True)
    raise SystemExit(int(not all(row.kept_the_promise for row in rows)))


class CourseRow(Row):
    """A course and its runs."""

    @property
    def names(self) -> dict[str, str]:
        """What the course is known by, with the titles of the columns."""
        course = self.scenario
        return {
            "fault": course.fault,
            "timeout": f"{course.stop_timeout:g}",
            "way": course.way,
            "rate": f"{course.rate:,g}",
            "tail": f"{course.tail:,}",
        }

    @property
    def head(self) -> dict[str, Any]:
        """What it is known by in JSON."""
        return {"course": asdict(self.scenario), "kept_the_promise": self.kept_the_promise}

    def more_of(self, outcome: Any) -> dict[str, Any]:
        """Return nothing: its figures say all."""
        del outcome
        return {}

    @property
    def kept_the_promise(self) -> bool:
        """Whether logship lost none, and delivered all if its sidecar was up or it has a spool."""
        way = WAYS[self.scenario.way]
        if not way.is_ours:
            return True
        sidecar_lives = self.scenario.fault in {"none", "sidecar-slow", "sidecar-restart"}
        must_deliver = sidecar_lives or way.has_recoverer
        return all(
            result.verdict.lost == 0
            and (result.verdict.delivered == result.verdict.written or not must_deliver)
            for result in self.outcomes
        )


def _run_all(courses: Sequence[Course], repeat: int, directory: Path) -> Iterator[CourseRow]:
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
            yield CourseRow(course, tuple(results))

"""`python -m benchmarks all`, and each measure as a command of its own."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import click
from rich.console import Console

from benchmarks.campaign import new_directory
from benchmarks.performance.goals import verdicts_table
from benchmarks.performance.job import FULL, QUICK, TURN, Job
from benchmarks.performance.measures import MEASURES
from benchmarks.performance.results import Measured, Results, write_results
from benchmarks.performance.serving import COUNTING, EMBEDDED
from benchmarks.performance.tables import as_table
from benchmarks.progress import open_progress
from benchmarks.servers import KINDS, find_servers
from benchmarks.table import open_console

Command = Callable[..., None]


def _options(command: Command) -> Command:
    for option in reversed(
        (
            click.option(
                "--quick",
                "effort",
                flag_value=QUICK,
                default=QUICK,
                help="A look; all of it takes 3 minutes. The default.",
            ),
            click.option(
                "--full",
                "effort",
                flag_value=FULL,
                help="Figures to publish; all of it takes 45 minutes.",
            ),
            click.option("--turn", "effort", flag_value=TURN, hidden=True),
            click.option(
                "--server",
                "servers",
                multiple=True,
                metavar="embedded|embedded:counting|fluentd|fluent-bit",
                help="Server for the records; may be repeated (fluentd:NAME for another name on "
                "PATH).  [default: both embedded; --full: also the real ones found on PATH]",
            ),
            click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE"),
        )
    ):
        command = option(command)
    return command


@click.command("all")
@_options
@click.option(
    "--only",
    multiple=True,
    type=click.Choice(list(MEASURES)),
    help="Only this measure; may be repeated.",
)
def run_all_measures(
    effort: str, servers: tuple[str, ...], json_file: Path | None, only: tuple[str, ...]
) -> None:
    """Take every measure, and say which of the goals are met.

    Exit code 0 whatever the figures are; 2 when something could not be measured.
    """
    names = [name for name in MEASURES if name in only or not only]
    console, results = _take(names, effort, servers, json_file)
    console.print(verdicts_table(results))


def measure_commands() -> Iterable[click.Command]:
    """Return a command for each measure that has none of its own yet."""
    return [_command(name) for name in MEASURES if name != "loss"]


def _command(name: str) -> click.Command:
    @click.command(name, help=f"{MEASURES[name].title}; see `all`.")
    @_options
    def one(effort: str, servers: tuple[str, ...], json_file: Path | None) -> None:
        _take([name], effort, servers, json_file)

    return one


def _take(
    names: list[str], effort: str, servers: tuple[str, ...], json_file: Path | None
) -> tuple[Console, Results]:
    """Take these measures one after the other, showing and writing each when it is there."""
    console, directory = open_console(), new_directory("performance").absolute()
    results: Results = {}
    for name in names:
        is_turn = effort == TURN
        job = Job(
            directory / name, QUICK if is_turn else effort, servers or _servers(effort), is_turn
        )
        job.directory.mkdir()
        results[name] = _measured(name, job, console)
        console.print(as_table(MEASURES[name], results[name]))
        console.print()
        if json_file:  # after each: an interruption leaves what was measured
            write_results(json_file, results)
    write_results(directory / "results.json", results)
    console.print(f"All figures: {directory}/results.json", soft_wrap=True)
    return console, results


def _measured(name: str, job: Job, console: Console) -> Measured:
    began = time.monotonic()
    with open_progress(console) as progress:
        task = progress.add_task(name, total=None, step="")
        job.tell = lambda step: progress.update(task, step=step)
        measured = MEASURES[name].run(job)
    measured.conditions["seconds"] = round(time.monotonic() - began, 1)
    for place in filter(Path.is_dir, job.directory.iterdir()):
        shutil.rmtree(place, ignore_errors=True)
    return measured


def _servers(effort: str) -> tuple[str, ...]:
    """Return the embedded receivers, and the newest real server of each kind on PATH."""
    if effort not in (FULL, TURN):
        return (EMBEDDED, COUNTING)
    found = (find_servers(kind) for kind in KINDS)
    return (EMBEDDED, COUNTING, *(_as_option(names) for names in found if names))


def _as_option(names: list[str]) -> str:
    """Return the kind itself where it is on PATH, else its last version."""
    kind = next(kind for kind in KINDS if names[0].startswith(kind))
    return kind if kind in names else f"{kind}:{names[-1]}"

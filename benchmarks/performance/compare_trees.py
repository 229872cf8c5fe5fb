"""`python -m benchmarks compare-trees --old PATH`: another checkout's logship against this one's.

Both are measured by this checkout's programs, which use the public interface alone, in turns on the
same machine. Every ratio is of two neighbours.
"""

from __future__ import annotations

import os
from pathlib import Path

import click
from rich.table import Table

from benchmarks.campaign import new_directory
from benchmarks.errors import BenchmarkError
from benchmarks.performance.figures import FIGURES, RATIO
from benchmarks.performance.job import in_turns
from benchmarks.performance.measures import MEASURES, is_ours
from benchmarks.performance.results import Key, Measured, read_results, write_results
from benchmarks.performance.statistics import ratios, spread_of
from benchmarks.performance.tables import shown
from benchmarks.processes import REPOSITORY, command_line, run_to_end
from benchmarks.progress import open_progress
from benchmarks.table import open_console, ruled_table

OLD, NEW = "old", "new"
NAMES = ("throughput", "shapes", "handler", "start", "leaving", "threads")
TURN_SECONDS_MAX = 1800.0

Sides = dict[str, dict[str, Measured]]
"""By tree, then by measure."""


@click.command("compare-trees")
@click.option(
    "--old",
    required=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="The other checkout.",
)
@click.option("--turns", type=click.IntRange(1), default=9, show_default=True)
@click.option("--only", multiple=True, type=click.Choice(NAMES), help="May be repeated.")
@click.option("--server", "servers", multiple=True, help="As of `all`.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), metavar="FILE")
def compare_trees(
    old: Path,
    turns: int,
    only: tuple[str, ...],
    servers: tuple[str, ...],
    json_file: Path | None,
) -> None:
    """Measure another checkout's logship and this one's, in turns."""
    console, directory = open_console(), new_directory("trees").absolute()
    trees = {OLD: _tree(directory / OLD, old), NEW: _tree(directory / NEW, REPOSITORY)}
    sides: Sides = {OLD: {}, NEW: {}}
    with open_progress(console) as progress:
        task = progress.add_task("trees", total=2 * turns, step="")
        for turn, side in in_turns((OLD, NEW), turns):
            progress.update(task, step=f"turn {turn + 1}, {side}")
            _take(trees[side], turn, only or NAMES, servers, sides[side])
            progress.advance(task)
            if json_file:  # after each: an interruption leaves what was measured
                for name in (OLD, NEW):
                    write_results(json_file.with_suffix(f".{name}.json"), sides[name])
    for name in sides[NEW]:
        console.print(_as_table(name, sides))
    console.print(f"Load average now: {' / '.join(f'{load:.1f}' for load in os.getloadavg())}")


def _tree(place: Path, checkout: Path) -> Path:
    """Return a directory from which this checkout's benchmarks run on that checkout's logship.

    Raises:
        BenchmarkError: It has none, so that Python would find another one.
    """
    if not (checkout / "logship" / "__init__.py").is_file():
        raise BenchmarkError(f"{checkout} has no logship")
    place.mkdir()
    (place / "logship").symlink_to((checkout / "logship").absolute())
    (place / "benchmarks").symlink_to((REPOSITORY / "benchmarks").absolute())
    return place


def _take(
    tree: Path,
    turn: int,
    names: tuple[str, ...],
    servers: tuple[str, ...],
    into: dict[str, Measured],
) -> None:
    """Take one turn of these measures, and add what it found."""
    found = tree / f"{turn}.json"
    options = [f"--only={name}" for name in names] + [f"--server={server}" for server in servers]
    command = command_line("benchmarks", "all", "--turn", f"--json={found}", *options)
    done = run_to_end(command, TURN_SECONDS_MAX, cwd=tree)
    if done.returncode:
        raise BenchmarkError(f"turn {turn + 1} failed in {tree}: {done.stderr[-500:]}")
    for name, measured in read_results([found]).items():
        kept = into.setdefault(name, Measured(measured.conditions, notes=measured.notes))
        for key in measured.all_keys():
            values = list(measured.by_turn(key).values())
            kept.add(turn, key.subject, key.case, **{key.figure: spread_of(values).median})


def _as_table(name: str, sides: Sides) -> Table:
    """Return medians of both, and the median and quartiles of the turns' ratios."""
    table = ruled_table(MEASURES[name].title)
    for heading in ("case", "subject", "figure"):
        table.add_column(heading)
    for heading in (OLD, NEW, f"{NEW} / {OLD}"):
        table.add_column(heading, justify="right")
    for key in sides[NEW][name].all_keys():
        reference = MEASURES[name].reference_of(key)
        against = [None, reference] if reference and is_ours(key.subject) else [None]
        for each in against:
            if row := _row(name, key, each, sides):
                table.add_row(*row)
    return table


def _row(name: str, key: Key, against: Key | None, sides: Sides) -> list[str]:
    """Return a row for a figure, or for its ratio with a reference in the same turn."""
    if against == key:
        return []
    values = [_values(sides[side][name], key, against) for side in (OLD, NEW)]
    found = ratios(values[1], values[0])
    if not found:
        return []
    figure = FIGURES[key.figure]
    form = RATIO if against else figure
    title = f"{figure.title} / {against.subject}" if against else figure.heading
    medians = [shown(spread_of(list(each.values())), form) for each in values]
    return [key.case, key.subject, title, *medians, shown(spread_of(found), RATIO)]


def _values(measured: Measured, key: Key, against: Key | None) -> dict[int, float]:
    values = measured.by_turn(key)
    if against is None:
        return values
    others = measured.by_turn(against)
    return {turn: value / others[turn] for turn, value in values.items() if others.get(turn)}

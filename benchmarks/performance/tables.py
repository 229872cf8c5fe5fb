"""What a measure found, as rows: a subject under a case, a column for each figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from benchmarks.performance.figures import FIGURES, RATIO, Figure
from benchmarks.performance.measures import Measure
from benchmarks.performance.results import Key, Measured
from benchmarks.performance.statistics import Spread
from benchmarks.table import ruled_table


def figures_of(measured: Measured) -> list[str]:
    """Return the names of the figures, in the order in which they came."""
    return list(dict.fromkeys(key.figure for key in measured.all_keys()))


def rows_of(measured: Measured) -> list[tuple[str, str]]:
    """Return case and subject of each row: what came under one case stands together."""
    pairs = dict.fromkeys((key.case, key.subject) for key in measured.all_keys())
    cases = list(dict.fromkeys(case for case, _ in pairs))
    return [pair for case in cases for pair in pairs if pair[0] == case]


def shown(spread: Spread | None, figure: Figure) -> str:
    """Return median and spread as a person reads them."""
    if spread is None:
        return ""
    if spread.low == spread.high:
        return figure.shown(spread.median)
    low, high = figure.shown(spread.low), figure.shown(spread.high)
    return f"{figure.shown(spread.median)} ({low} to {high})"


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        names: How many columns on the left are names; the others are numbers.
    """

    headings: list[str]
    rows: list[list[str]]
    names: int


def grid_of(measure: Measure, measured: Measured) -> Grid:
    """Return medians, with quartiles where there are enough turns; no case where there is one."""
    figures, rows = figures_of(measured), rows_of(measured)
    names = ["case", "subject"] if any(case for case, _ in rows) else ["subject"]
    headings = [*names, *(FIGURES[name].heading for name in figures)]
    if measure.reference:
        headings.append(f"/ {measure.reference}")
    cells = [
        [*(case, subject)[-len(names) :], *_cells(measure, measured, figures, case, subject)]
        for case, subject in rows
    ]
    return Grid(headings, cells, len(names))


def _cells(
    measure: Measure, measured: Measured, figures: list[str], case: str, subject: str
) -> Iterator[str]:
    """Yield each figure, and the first one's ratio with the reference."""
    for name in figures:
        yield shown(measured.spread(Key(name, subject, case)), FIGURES[name])
    key = Key(figures[0], subject, case)
    if against := measure.reference_of(key):
        yield shown(None if key == against else measured.ratio(key, against), RATIO)


def as_table(measure: Measure, measured: Measured) -> Table:
    """Return the grid for a terminal."""
    grid = grid_of(measure, measured)
    table = ruled_table(measure.title)
    for number, heading in enumerate(grid.headings):
        table.add_column(heading, justify="left" if number < grid.names else "right")
    for row in grid.rows:
        table.add_row(*row)
    return table


def as_markdown(headings: Sequence[str], rows: list[list[str]], names: int) -> str:
    """Return a table for a page: columns of names on the left, then numbers."""
    rule = [" --- " if number < names else " ---: " for number in range(len(headings))]
    lines = [_row(headings), f"|{'|'.join(rule)}|", *map(_row, rows)]
    return "\n".join(lines)


def _row(cells: Sequence[str]) -> str:
    escaped = (cell.replace("|", "\\|").replace("<", "&lt;") for cell in cells)
    return f"| {' | '.join(escaped)} |"

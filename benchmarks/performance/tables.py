"""What a measure found, as rows: a subject under a case, a column for each figure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rich.table import Table

from benchmarks.performance.figures import FIGURES, Figure
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


def ratio_heading(measure: Measure) -> str:
    """Return what stands above the ratios with the measure's reference."""
    return f"/ {measure.reference}" if measure.reference else ""


def cells_of(measure: Measure, measured: Measured, case: str, subject: str) -> Iterator[str]:
    """Yield a row's cells: each figure, and the first one's ratio with the reference."""
    names = figures_of(measured)
    for name in names:
        yield shown(measured.spread(Key(name, subject, case)), FIGURES[name])
    if measure.reference:
        key = Key(names[0], subject, case)
        against = measure.reference_of(key)
        assert against is not None
        ratio = None if key == against else measured.ratio(key, against)
        yield shown(ratio, RATIO)


RATIO = Figure("ratio", "")


def headings_of(measure: Measure, measured: Measured) -> list[str]:
    """Return the titles of the columns that `cells_of` fills."""
    headings = [FIGURES[name].heading for name in figures_of(measured)]
    return headings + [ratio_heading(measure)] * bool(measure.reference)


@dataclass(frozen=True)
class Grid:
    """A table as text.

    Attributes:
        names: How many columns on the left are names; the others are numbers.
    """

    headings: list[str]
    rows: list[list[str]]
    names: int

    @property
    def width(self) -> int:
        """How many columns there are."""
        return len(self.headings)


def grid_of(measure: Measure, measured: Measured) -> Grid:
    """Return medians, with quartiles where there are enough turns; no case where there is one."""
    has_cases = any(case for case, _ in rows_of(measured))
    names = ["case", "subject"] if has_cases else ["subject"]
    rows = [
        [*([case] if has_cases else []), subject, *cells_of(measure, measured, case, subject)]
        for case, subject in rows_of(measured)
    ]
    return Grid(names + headings_of(measure, measured), rows, len(names))


def as_table(measure: Measure, measured: Measured) -> Table:
    """Return the grid for a terminal."""
    grid = grid_of(measure, measured)
    table = ruled_table(measure.title)
    for number, heading in enumerate(grid.headings):
        table.add_column(heading, justify="left" if number < grid.names else "right")
    for row in grid.rows:
        table.add_row(*row)
    return table

"""`python -m benchmarks compare A.json B.json`: which figures moved beyond their spread.

The speed of a machine changes from run to run. So a figure with a reference in its own run (the
encode ceiling, a handler that does nothing, prepared frames) is compared as a ratio with it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
from rich.table import Table
from rich.text import Text

from benchmarks.errors import BenchmarkError
from benchmarks.performance.figures import FIGURES, HIGHER, RATIO, Figure
from benchmarks.performance.measures import MEASURES, Measure, is_ours
from benchmarks.performance.results import Key, Measured, Results, read_results
from benchmarks.performance.statistics import Spread, spread_of
from benchmarks.performance.tables import shown
from benchmarks.table import open_console, ruled_table


@dataclass(frozen=True)
class Move:
    """A figure in both results.

    Attributes:
        against: The reference that both are divided by; empty where they are plain values.
    """

    measure: str
    key: Key
    before: Spread
    after: Spread
    against: str

    @property
    def change(self) -> float:
        """How much greater the median is, as a share of the one before."""
        if not self.before.median:
            return 0.0 if not self.after.median else float("inf")
        return self.after.median / self.before.median - 1

    @property
    def is_beyond_spread(self) -> bool:
        """Whether it moved further than it varies; one value alone varies in an unknown way."""
        exact = FIGURES[self.key.figure].is_exact
        if min(self.before.count, self.after.count) < 2 and not exact:
            return False
        return self.before.apart_from(self.after)

    @property
    def is_worse(self) -> bool:
        """Whether it moved the wrong way."""
        return (self.change > 0) != (FIGURES[self.key.figure].better == HIGHER)

    @property
    def is_regression(self) -> bool:
        """Whether it is logship's own figure, beyond its spread, and worse."""
        return self.is_beyond_spread and self.is_worse and is_ours(self.key.subject)


def moves(before: Results, after: Results) -> Iterator[Move]:
    """Yield every figure that both results have."""
    for name, measure in MEASURES.items():
        if name in before and name in after:
            yield from _moves_of(name, measure, before[name], after[name])


def _moves_of(name: str, measure: Measure, before: Measured, after: Measured) -> Iterator[Move]:
    for key in before.all_keys():
        reference = measure.reference_of(key)
        if reference == key:
            continue  # it would be compared with itself
        for against in (reference, None):
            old, new = _spread(before, key, against), _spread(after, key, against)
            if old is not None and new is not None:
                yield Move(name, key, old, new, against.subject if against else "")
                break


def _spread(measured: Measured, key: Key, against: Key | None) -> Spread | None:
    if against is not None:
        return measured.ratio(key, against)
    values = list(measured.by_turn(key).values())
    if FIGURES[key.figure].is_exact:
        values = [max(values)] if values else []
    return spread_of(values) if values else None


@click.command()
@click.argument("before", type=click.Path(path_type=Path), metavar="A.json")
@click.argument("after", type=click.Path(path_type=Path), metavar="B.json")
def compare(before: Path, after: Path) -> None:
    """Say which figures moved from A to B beyond their spread.

    Exit code 1 when one of logship's own became worse.
    """
    both = [read_results([path]) for path in (before, after)]
    found = list(moves(*both))
    if not found:
        raise BenchmarkError("no figure is in both")
    moved = [move for move in found if move.is_beyond_spread]
    console = open_console()
    if moved:
        console.print(_as_table(moved))
    old, new = ({(name, key) for name in each for key in each[name].all_keys()} for each in both)
    console.print(
        f"{len(found)} figures in both, {len(old ^ new)} in one only, "
        f"{len(moved)} moved beyond their spread."
    )
    raise SystemExit(any(move.is_regression for move in moved))


def _as_table(moved: list[Move]) -> Table:
    table = ruled_table("Moved beyond their spread")
    for heading in ("measure", "case", "subject", "figure"):
        table.add_column(heading)
    for heading in ("before", "after", "change"):
        table.add_column(heading, justify="right")
    table.add_column("")
    for move in moved:
        figure = FIGURES[move.key.figure]
        form: Figure = RATIO if move.against else figure
        name = f"{figure.title} / {move.against}" if move.against else figure.heading
        table.add_row(
            *(move.measure, move.key.case, move.key.subject, name),
            *(shown(move.before, form), shown(move.after, form), f"{move.change:+.1%}"),
            _word(move),
        )
    return table


def _word(move: Move) -> Text:
    if move.is_regression:
        return Text("worse", "bold red")
    return Text("worse, not ours" if move.is_worse else "better", "" if move.is_worse else "green")

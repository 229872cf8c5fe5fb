"""Which plots each measure has: what it found, as bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from benchmarks.performance.charts import Bar, Heading, Plot, axis_to, bars
from benchmarks.performance.figures import FIGURES, Figure
from benchmarks.performance.measures import CEILINGS
from benchmarks.performance.results import Key, Measured
from benchmarks.performance.serving import COUNTING, EMBEDDED
from benchmarks.performance.start import UNDER_RUN
from benchmarks.performance.statistics import Spread
from benchmarks.performance.tables import figures_of, rows_of, shown
from benchmarks.performance.throughput import AIOFLUENT, MANY

_COLOURS = {
    "logship": 0,
    UNDER_RUN: 0,
    MANY: 0,
    "logship-spool": 1,
    "fluent-logger": 2,
    "fluent-logger-async": 3,
    AIOFLUENT: 4,
    **dict.fromkeys(CEILINGS, 5),
}
"""The same subject has the same colour everywhere; ceilings and what does nothing are grey."""
_GREY = 5
_FATES = (6, 2, _GREY, 7)
"""Delivered, spilled, dropped, lost."""
_CASES = {
    EMBEDDED: "embedded receiver",
    COUNTING: "embedded receiver, counting",
    "none": "no fault",
}


def plots_of(name: str, measured: Measured) -> list[Plot]:
    """Return the plots of a measure, from what is there of it."""
    return list(_PLOTS.get(name, _bar_plots)(measured))


def _bar_plots(measured: Measured) -> Iterator[Plot]:
    for name in figures_of(measured):
        yield _bar_plot(measured, name)


def _throughput(measured: Measured) -> Iterator[Plot]:
    """Draw bars that show the shippers: ceilings may be ten times higher, and are cut then."""
    for name in figures_of(measured):
        figure = FIGURES[name]
        medians = [
            spread.median * figure.scale
            for key in measured.all_keys()
            if key.figure == name and _COLOURS.get(key.subject) != _GREY
            if (spread := measured.spread(key))
        ]
        yield _bar_plot(measured, name, 2 * max(medians, default=0.0))


def _bar_plot(measured: Measured, name: str, end_max: float = 0.0) -> Plot:
    """Draw one figure: a bar for each subject, under the case in which it was measured.

    Args:
        measured: Has the figure.
        name: Of the figure.
        end_max: Where the axis ends at the latest; zero: at the longest bar.
    """
    figure = FIGURES[name]
    rows: list[Bar | Heading] = []
    above = ""
    for case, subject in _ordered_rows(measured):
        spread = measured.spread(Key(name, subject, case))
        if spread is None:
            continue
        if case != above:
            rows.append(Heading(_CASES.get(case, case)))
            above = case
        rows.append(_bar(subject, spread, figure))
    longest = max((row.top for row in rows if isinstance(row, Bar)), default=0.0)
    is_cut = 0 < end_max < longest
    title = f"{figure.heading} ({figure.better} is better{'; arrow: cut' if is_cut else ''})"
    return bars(title, rows, axis_to(end_max if is_cut else longest or 1.0))


def _ordered_rows(measured: Measured) -> list[tuple[str, str]]:
    """Return case and subject: within a case logship first, what is not a shipper last."""
    rows = rows_of(measured)
    cases = list(dict.fromkeys(case for case, _ in rows))
    return sorted(rows, key=lambda row: (cases.index(row[0]), _COLOURS.get(row[1], 0)))


def _bar(subject: str, spread: Spread, figure: Figure) -> Bar:
    length, low, high = (
        max(0.0, value * figure.scale) for value in (spread.median, spread.low, spread.high)
    )
    colour = _COLOURS.get(subject, 0)
    return Bar(subject, [(length, colour)], shown(spread, figure), (low, high))


def _loss(measured: Measured) -> Iterator[Plot]:
    """Draw what became of the lines, as shares of those that are accounted for."""
    rows: list[Bar | Heading] = []
    above = None
    for case, subject in _ordered_rows(measured):
        if case != above:
            rows.append(Heading(_CASES.get(case, case)))
            above = case
        counts = [
            sum(measured.by_turn(Key(name, subject, case)).values())
            for name in ("delivered", "spilled", "dropped", "lost")
        ]
        written = sum(counts) or 1.0
        shares = [100 * count / written for count in counts]
        text = f"{counts[3]:,.0f} lost, {counts[1]:,.0f} spilled of {written:,.0f}"
        rows.append(Bar(subject, list(zip(shares, _FATES, strict=True)), text))
    title = (
        "Lines delivered (green), spilled to stderr (orange), declared as dropped (grey), lost "
        "(red); all runs together"
    )
    yield bars(title, rows, axis_to(100, " %"))


_PLOTS: dict[str, Callable[[Measured], Iterator[Plot]]] = {
    "throughput": _throughput,
    "loss": _loss,
}
"""All others have a plot for each figure."""

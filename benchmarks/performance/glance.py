"""The figures that most readers look for: a row for each, a column for each shipper."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks.performance.figures import FIGURES, RATIO
from benchmarks.performance.handler import NOTHING, PLAIN
from benchmarks.performance.light import RATE
from benchmarks.performance.results import Key, Measured, Results
from benchmarks.performance.start import BASE, IMPORTING
from benchmarks.performance.tables import as_markdown

SUBJECTS = ("logship", "logship-spool", "fluent-logger", "fluent-logger-async")
HEADING = "## At a glance"
NOTE = (
    "Records/s: with logship until the server has acknowledged all; with fluent-logger, which has "
    "no acks, until it has read all. logship-spool: with a spool. A bare handler does nothing. "
    "Empty: not measured."
)


@dataclass(frozen=True)
class Line:
    """One row.

    Attributes:
        against: The subject whose ratio stands behind the figure; or nothing.
    """

    title: str
    measure: str
    figure: str
    case: str = ""
    against: str = ""

    def cell(self, measured: Measured, subject: str) -> str:
        """Return a shipper's median; nothing where it was not measured."""
        key = Key(self.figure, subject, self.case)
        spread = measured.spread(key)
        if spread is None:
            return ""
        shown = FIGURES[self.figure].shown(spread.median)
        ratio = measured.ratio(key, key._replace(subject=self.against)) if self.against else None
        return f"{shown}, {RATIO.shown(ratio.median)} times" if ratio else shown


LINES = (
    Line("records/s into Fluentd", "throughput", "records_per_second", "fluentd"),
    Line("records/s into Fluent Bit", "throughput", "records_per_second", "fluent-bit"),
    Line(
        "the program's CPU for a record into Fluentd, µs",
        *("throughput", "client_cpu_seconds_per_record", "fluentd"),
    ),
    Line(
        "a `logging` call, µs, and against a bare handler",
        *("handler", "call_ns", PLAIN, NOTHING),
    ),
    Line(f"CPU of shipping {RATE:g} lines/s, % of a core", "light", "shipper_cpu_share"),
    Line("memory of an idle process, MiB", "memory", "rss_idle_bytes"),
    Line(
        "import and install, ms, and against `import logging, asyncio`",
        *("start", "import_seconds", IMPORTING, BASE),
    ),
    Line("added to the exit at SIGTERM, ms", "leaving", "leave_seconds"),
    Line("bytes on the wire for a text of 400", "wire", "wire_bytes_per_record"),
)


def glance_of(results: Results) -> list[str]:
    """Return heading, table and note; nothing where none of it was measured."""
    rows = [row for row in _rows(results) if any(row[1:])]
    return [HEADING, as_markdown(["", *SUBJECTS], rows, names=1), NOTE] if rows else []


def _rows(results: Results) -> Iterator[list[str]]:
    yield _lost(results.get("loss", Measured({})))
    for line in LINES:
        measured = results.get(line.measure, Measured({}))
        yield [line.title, *(line.cell(measured, subject) for subject in SUBJECTS)]


def _lost(measured: Measured) -> list[str]:
    """Return how many lines of how many each shipper lost, all runs together."""
    cases = len({key.case for key in measured.all_keys()})
    return [
        f"lines lost over {cases} kinds of faults and stops",
        *(_lost_of(measured, subject) for subject in SUBJECTS),
    ]


def _lost_of(measured: Measured, subject: str) -> str:
    count = {
        figure: sum(
            sample.value
            for sample in measured.samples
            if (sample.figure, sample.subject) == (figure, subject)
        )
        for figure in ("lost", "spilled", "dropped", "delivered")
    }
    total = sum(count.values())
    return f"{count['lost']:,.0f} of {total:,.0f}" if total else ""

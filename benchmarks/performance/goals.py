"""What logship must reach, what it aims at, and what was measured: computed from results alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from benchmarks.performance.figures import HIGHER, LOWER, RATIO
from benchmarks.performance.handler import NOTHING, OTHER_CASES, PLAIN
from benchmarks.performance.results import Key, Results
from benchmarks.performance.serving import COUNTING, EMBEDDED
from benchmarks.performance.start import BASE, IMPORTING
from benchmarks.performance.statistics import Spread
from benchmarks.performance.threads import ONE, TWO
from benchmarks.performance.throughput import ENCODING, MANY, NOWHERE, ONE_SHAPE, SINK
from benchmarks.records import VARIED_NAME
from benchmarks.servers import KINDS
from benchmarks.table import ruled_table

Find = Callable[[Results], Spread | None]


@dataclass(frozen=True)
class Goal:
    """One line of the table.

    Attributes:
        text: What is measured, and against what.
        must, goal: The bounds.
        better: Which way lies good.
        find: Takes the figure out of results; None where it was not measured.
        unit: Behind the numbers.
    """

    text: str
    must: float
    goal: float
    better: str
    find: Find
    unit: str = " \N{MULTIPLICATION SIGN}"


@dataclass(frozen=True)
class Verdict:
    """What became of a goal."""

    goal: Goal
    spread: Spread | None

    @property
    def word(self) -> str:
        """Say it in words."""
        if self.spread is None:
            return "not measured"
        if self._reaches(self.goal.goal):
            return "goal met"
        return "met" if self._reaches(self.goal.must) else "not met"

    def _reaches(self, bound: float) -> bool:
        assert self.spread is not None
        value = self.spread.median
        return value >= bound if self.goal.better == HIGHER else value <= bound

    @property
    def cells(self) -> list[str]:
        """The line of the table as a person reads it, without the word: see `HEADINGS`."""
        sign = "≥" if self.goal.better == HIGHER else "≤"
        bounds = [f"{sign} {value:g}{self.goal.unit}" for value in (self.goal.must, self.goal.goal)]
        return [self.goal.text, self._measured, *bounds]

    @property
    def _measured(self) -> str:
        """The figure with its spread."""
        if self.spread is None:
            return "-"
        low, high = (RATIO.shown(value) for value in (self.spread.low, self.spread.high))
        return f"{RATIO.shown(self.spread.median)}{self.goal.unit} ({low} to {high})"


HEADINGS = ("figure", "measured", "must", "goal", "")
"""Those of `Verdict.cells`, and of the word."""


def verdicts(results: Results) -> list[Verdict]:
    """Return a verdict for every goal."""
    return [Verdict(goal, goal.find(results)) for goal in GOALS]


def verdicts_table(results: Results) -> Table:
    """Return the verdicts for a terminal."""
    table = ruled_table("Targets (medians and spread of ratios in one run)")
    text, *numbers, word = HEADINGS
    table.add_column(text)
    for heading in numbers:
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column(word)
    styles = {"not met": "bold red", "met": "green", "goal met": "bold green"}
    for each in verdicts(results):
        table.add_row(*each.cells, Text(each.word, styles.get(each.word, "dim")))
    return table


def _ratio(measure: str, key: Key, against: Key) -> Find:
    def find(results: Results) -> Spread | None:
        measured = results.get(measure)
        return measured.ratio(key, against) if measured else None

    return find


def _value(measure: str, key: Key, scale: float = 1.0) -> Find:
    def find(results: Results) -> Spread | None:
        measured = results.get(measure)
        spread = measured.spread(key) if measured else None
        if spread is None:
            return None
        return Spread(spread.median * scale, spread.low * scale, spread.high * scale, spread.count)

    return find


def _throughput(server: str, against: tuple[str, str], subject: str = "logship") -> Find:
    """Compare the rate into a server; `fluentd` also stands for `fluentd:NAME`."""

    def is_meant(case: str) -> bool:
        return case == server or (server in KINDS and case.startswith(f"{server}:"))

    def find(results: Results) -> Spread | None:
        measured = results.get("throughput")
        if measured is None:
            return None
        named = {key.case for key in measured.all_keys() if is_meant(key.case)}
        for case in sorted(named):
            rival = Key("records_per_second", against[0], against[1] or case)
            return measured.ratio(Key("records_per_second", subject, case), rival)
        return None

    return find


def _latency(place: str) -> Find:
    return _ratio(
        "latency",
        Key("emit_p99.9_ns", place, "black hole"),
        Key("emit_p99.9_ns", place, "healthy"),
    )


_PEER = "fluent-logger"
_SHARE = "shipper_cpu_share"

_WAYS = (("logship", "one record a call"), (MANY, "100 records a call"))
_SERVERS = (
    (COUNTING, "the counting receiver", 6.1, 10),
    ("fluent-bit", "Fluent Bit", 5.6, 10),
    (EMBEDDED, "the receiver of lines", 2.5, 4),
)
"""With the bounds for varied records."""


def _throughput_goals() -> list[Goal]:
    """Return the goals of throughput, each for both ways of handing varied records over."""
    against_peer = [
        Goal(
            f"records/s into {said}, {way}, against fluent-logger into a raw socket sink",
            *(must, goal, HIGHER),
            _throughput(server, (_PEER, SINK), subject),
        )
        for server, said, must, goal in _SERVERS
        for subject, way in _WAYS
    ]
    into_fluentd = [
        Goal(
            f"records/s into Fluentd, {way}, against fluent-logger into Fluentd",
            *(2.8, 4, HIGHER),
            _throughput("fluentd", (_PEER, ""), subject),
        )
        for subject, way in _WAYS
    ]
    against_ceiling = [
        Goal(
            f"records/s of one shape into {said}, against the encode ceiling",
            *(0.45, 0.7, HIGHER),
            _ratio(
                "throughput",
                Key("records_per_second", "logship", f"{server}, {ONE_SHAPE}"),
                Key("records_per_second", ENCODING, f"{NOWHERE}, {ONE_SHAPE}"),
            ),
        )
        for server, said, *_ in _SERVERS
        if server in (COUNTING, EMBEDDED)
    ]
    return [*against_peer, *into_fluentd, *against_ceiling]


def _call_goals() -> list[Goal]:
    """Return the goals of a `logging` call, in each of its forms."""
    bounds = dict.fromkeys(OTHER_CASES, (1.6, 1.5)) | {PLAIN: (1.45, 1.35)}
    return [
        Goal(
            f"a `logging` call ({case}), against a bare handler",
            *(*bounds[case], LOWER),
            _ratio("handler", Key("call_ns", "logship", case), Key("call_ns", NOTHING, case)),
        )
        for case in (PLAIN, *OTHER_CASES)
    ]


def _without_lock(results: Results) -> Spread | None:
    """Return what two threads emit against one, in an interpreter without a global lock."""
    measured = results.get("threads")
    options = measured.conditions.get("options", {}) if measured else {}
    if measured is None or options.get("has_lock", True):
        return None
    figure = "emitted_per_second"
    return measured.ratio(Key(figure, "logship", TWO), Key(figure, "logship", ONE))


GOALS = (
    *_throughput_goals(),
    *_call_goals(),
    Goal(
        "`emit` of varied records into a spool, against into memory",
        *(1.5, 1.3, LOWER),
        _ratio(
            "shapes",
            Key("record_cpu_ns", "logship-spool", VARIED_NAME),
            Key("record_cpu_ns", "logship", VARIED_NAME),
        ),
    ),
    Goal(
        "CPU of the shipper at 300 lines/s of 400 characters",
        *(1, 0.5, LOWER),
        _value("light", Key(_SHARE, "logship", ""), 100),
        " %",
    ),
    Goal(
        "the same, against fluent-logger's",
        *(1, 0.5, LOWER),
        _ratio("light", Key(_SHARE, "logship", ""), Key(_SHARE, _PEER, "")),
    ),
    Goal(
        "p99.9 of `emit` in a thread, sidecar a black hole, against healthy",
        *(2, 1.2, LOWER),
        _latency("thread"),
    ),
    Goal(
        "p99.9 of `emit` on an event loop, sidecar a black hole, against healthy",
        *(2, 1.2, LOWER),
        _latency("loop"),
    ),
    Goal(
        "drain of 64 MiB into the receiver of lines",
        *(1, 0.3, LOWER),
        _value("drain", Key("drain_seconds", "logship", EMBEDDED)),
        " s",
    ),
    Goal(
        "drain of 64 MiB into the counting receiver",
        *(1, 0.3, LOWER),
        _value("drain", Key("drain_seconds", "logship", COUNTING)),
        " s",
    ),
    Goal(
        "memory that a full buffer adds, against its bound",
        *(1.25, 1.1, LOWER),
        _value("memory", Key("rss_full_over_bound", "logship", "")),
    ),
    Goal(
        "`import logship` and `install()`, against `import logging, asyncio`",
        *(1.6, 1.3, LOWER),
        _ratio(
            "start",
            Key("import_seconds", "logship", IMPORTING),
            Key("import_seconds", BASE, IMPORTING),
        ),
    ),
    Goal(
        "added to the exit at SIGTERM",
        *(15, 5, LOWER),
        _value("leaving", Key("leave_seconds", "logship", ""), 1000),
        " ms",
    ),
    Goal(
        "`emit` from two threads without a global lock, against from one",
        *(1.4, 1.8, HIGHER),
        _without_lock,
    ),
)

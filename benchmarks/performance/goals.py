"""What logship must reach, what it aims at, and what was measured: computed from results alone."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table
from rich.text import Text

from benchmarks.performance.figures import HIGHER, LOWER, Figure
from benchmarks.performance.handler import NOTHING
from benchmarks.performance.results import Key, Results
from benchmarks.performance.serving import COUNTING, EMBEDDED
from benchmarks.performance.start import BASE, IMPORTING
from benchmarks.performance.statistics import Spread
from benchmarks.performance.throughput import ENCODING, MANY, NOWHERE, SINK
from benchmarks.sidecars import KINDS
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
    def measured(self) -> str:
        """The figure with its spread, as a person reads it."""
        if self.spread is None:
            return "-"
        figure = Figure("", "")
        low, high = figure.shown(self.spread.low), figure.shown(self.spread.high)
        return f"{figure.shown(self.spread.median)}{self.goal.unit} ({low} to {high})"

    def bound(self, value: float) -> str:
        """Return a bound as a person reads it."""
        sign = "≥" if self.goal.better == HIGHER else "≤"
        return f"{sign} {value:g}{self.goal.unit}"


def verdicts(results: Results) -> list[Verdict]:
    """Return a verdict for every goal."""
    return [Verdict(goal, goal.find(results)) for goal in GOALS]


def verdicts_table(results: Results) -> Table:
    """Return the verdicts for a terminal."""
    table = ruled_table("Done when (medians and spread of ratios in one run)")
    table.add_column("figure")
    for heading in ("measured", "must", "goal"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("")
    styles = {"not met": "bold red", "met": "green", "goal met": "bold green"}
    for each in verdicts(results):
        word = Text(each.word, styles.get(each.word, "dim"))
        bounds = (each.bound(each.goal.must), each.bound(each.goal.goal))
        table.add_row(each.goal.text, each.measured, *bounds, word)
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
    (EMBEDDED, "the embedded receiver, lines to /dev/null"),
    (COUNTING, "the embedded receiver that only counts"),
    ("fluent-bit", "Fluent Bit"),
)


def _throughput_goals() -> list[Goal]:
    """Return the goals of throughput, each for both ways of handing records over."""
    against_peer = [
        Goal(
            f"acked throughput into {said}, {way}, against fluent-logger's unacked rate into a raw "
            "socket sink",
            *(6, 10, HIGHER),
            _throughput(server, (_PEER, SINK), subject),
        )
        for server, said in _SERVERS
        for subject, way in _WAYS
    ]
    into_fluentd = [
        Goal(
            f"into Fluentd with a file buffer, {way}, against what it takes in from fluent-logger",
            *(2.8, 4, HIGHER),
            _throughput("fluentd", (_PEER, ""), subject),
        )
        for subject, way in _WAYS
    ]
    against_ceiling = [
        Goal(
            f"acked throughput into {said}, {way}, against the encode ceiling",
            *(0.45, 0.7, HIGHER),
            _throughput(server, (ENCODING, NOWHERE), subject),
        )
        for server, said in _SERVERS[:2]
        for subject, way in _WAYS
    ]
    return [*against_peer, *into_fluentd, *against_ceiling]


GOALS = (
    *_throughput_goals(),
    Goal(
        "a `logging` call, against a handler that does nothing",
        *(1.6, 1.35, LOWER),
        _ratio("handler", Key("call_ns", "logship", ""), Key("call_ns", NOTHING, "")),
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
        "emit p99.9 in a thread, sidecar black-holed, against healthy",
        *(2, 1.2, LOWER),
        _latency("thread"),
    ),
    Goal(
        "emit p99.9 on an event loop, sidecar black-holed, against healthy",
        *(2, 1.2, LOWER),
        _latency("loop"),
    ),
    Goal(
        "a full buffer of 64 MiB into the embedded receiver, lines to /dev/null",
        *(1, 0.3, LOWER),
        _value("drain", Key("drain_seconds", "logship", EMBEDDED)),
        " s",
    ),
    Goal(
        "the same into the embedded receiver that only counts",
        *(1, 0.3, LOWER),
        _value("drain", Key("drain_seconds", "logship", COUNTING)),
        " s",
    ),
    Goal(
        "(RSS full - RSS idle) against the bound, 400-character records",
        *(1.25, 1.1, LOWER),
        _value("memory", Key("rss_full_over_bound", "logship", "")),
    ),
    Goal(
        "`import logship` and `install()`, against `import logging, asyncio`",
        *(2, 1.3, LOWER),
        _ratio(
            "start",
            Key("import_seconds", "logship", IMPORTING),
            Key("import_seconds", BASE, IMPORTING),
        ),
    ),
)

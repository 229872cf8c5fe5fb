"""Reads drain reports, and checks their fields and sums."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final, NamedTuple

from logship.errors import LogshipError

KIND_KEY: Final = "logship"
REPORT_SOURCES: Final = {
    "spill begins": "spill's first line",
    "drain report": "drain report",
    "report correction": "report's correction",
}
"""Kinds of lines that have a drain report's fields, and what to call each, in the order in which a
process writes them. A spill begins with such a line, because the process may be killed before its
drain report. A correction follows if records were refused after the report."""

_SURROGATE: Final = re.compile("[\ud800-\udfff]")
"""Half of a pair, which text does not have."""

AGES: Final = {source: age for age, source in enumerate(REPORT_SOURCES.values())}

NUMBER_MAX: Final = 9_999_999_999
"""Of a record: a stamp has ten digits."""
COUNT_MAX: Final = 10**18
"""Of all records of a process, which may have many streams."""


class UnreadableReport(LogshipError):  # noqa: N818 - it names the thing, as its siblings do
    """A line says that it is a drain report, but does not have a drain report's fields."""


ON_PURPOSE: Final = ("withheld", "sampled", "rate-limited")
"""Reasons of records that settings keep back."""


class Declared(NamedTuple):
    """Numbers that a gap record or a report declares as not delivered."""

    first: int
    last: int
    reason: str


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What a report says about one stream; `end` is None where no end record was numbered."""

    source: str
    stream: str
    tag: str | None
    last: int
    end: int | None
    accepted: int
    refused: int
    declared: tuple[Declared, ...]


@dataclass(frozen=True, slots=True)
class RefusedCount:
    """How many records a process refused, according to a report.

    Attributes:
        life: What the lines of the refused records are known by.
        lines: How many lines there should be: of records whose calls returned no error.
        unwritten: How many of these stderr did not take.
        told: How many others there were. Their calls returned an error or False.
    """

    life: str
    lines: int
    unwritten: int
    told: int


@dataclass(frozen=True, slots=True)
class Report:
    """A drain report.

    Attributes:
        streams: What it says about each stream that it names.
        refused: How many records were refused, where it says so.
        unnamed: Accepted records of streams that it does not name. A program that used very many
            tags forgets streams that were acked to the end. The streams of a client without stamps,
            or with stamps under another key, are as good as not named.
        problem: How its own sums contradict each other; None if they do not.
    """

    streams: tuple[StreamReport, ...]
    refused: RefusedCount | None
    unnamed: int
    problem: str | None


def read_report(report: Mapping[str, object], stamp_key: str) -> Report:
    """Return a checked drain report, or a spill's first line, as logship prints it on stderr.

    Args:
        report: The line's fields.
        stamp_key: The field of the stamps that are read. No line can show what became of a stream
            whose records have no such field, so it is not taken as named.

    Raises:
        UnreadableReport: A field is missing or of the wrong kind; the text names it.
    """
    streams = report.get("streams")
    if not isinstance(streams, list):
        raise UnreadableReport("a drain report without a list of streams")
    source = REPORT_SOURCES[str(report[KIND_KEY])]
    is_ours = report.get("stamp_key", stamp_key) == stamp_key
    named = tuple(_read_stream_report(stream, source) for stream in streams if is_ours)
    unnamed = _count(report, "accepted", COUNT_MAX) - sum(stream.accepted for stream in named)
    refused = _read_refused(report) if "refused_id" in report else None
    return Report(named, refused, max(unnamed, 0), _sum_problem(report, unnamed))


def _read_refused(report: Mapping[str, object]) -> RefusedCount:
    life = report["refused_id"]
    if not isinstance(life, str):
        raise UnreadableReport("a drain report's refused_id is not text")
    lines = _count(report, "refused_lines")
    told = max(0, _count(report, "refused", COUNT_MAX) - lines)
    return RefusedCount(life, lines, _count(report, "refused_unwritten"), told)


def _sum_problem(report: Mapping[str, object], unnamed: int) -> str | None:
    names = ("acked", "spooled", "spilled", "dropped", "unacked")
    parts = [_count(report, name, COUNT_MAX) for name in names]
    accepted = _count(report, "accepted", COUNT_MAX)
    if unnamed < 0:
        return f"a drain report says {accepted} accepted, but its streams {accepted - unnamed}"
    if accepted == sum(parts):
        return None
    shown = " + ".join(f"{part} {name}" for part, name in zip(parts, names, strict=True))
    return f"a drain report does not add up: {accepted} accepted, but {shown} = {sum(parts)}"


def _read_stream_report(stream: object, source: str) -> StreamReport:
    name = stream.get("stream") if isinstance(stream, dict) else None
    if not isinstance(stream, dict) or not isinstance(name, str) or _SURROGATE.search(name):
        raise UnreadableReport("a drain report's stream without a name")
    tag = stream.get("tag")
    return StreamReport(
        source=source,
        stream=name,
        tag=tag if isinstance(tag, str) else None,
        last=_count(stream, "last"),
        end=None if stream.get("end") is None else _count(stream, "end"),
        accepted=_count(stream, "accepted"),
        refused=_count(stream, "refused"),
        declared=tuple(_read_declared(stream)),
    )


def _read_declared(stream: Mapping[str, object]) -> Iterator[Declared]:
    for name in ("spilled", "dropped", "unacked", "spooled"):
        ranges = stream.get(name, [])
        if not isinstance(ranges, list):
            raise UnreadableReport(f"a drain report's {name} is not a list of ranges")
        for item in ranges:
            if (declared := read_range(item, name)) is None:
                raise UnreadableReport(f"a drain report's {name} holds {item!r:.60}, not a range")
            yield declared


def read_range(item: object, name: str = "") -> Declared | None:
    """Return what `[first, last]` or `[first, last, reason]` declares; None if it is neither.

    Args:
        item: As it stands in the report or gap record.
        name: What the reason begins with, or nothing.
    """
    match item:
        case [bool(), _, *_] | [_, bool(), *_]:
            return None
        case [int(first), int(last), *rest] if 1 <= first <= last <= NUMBER_MAX and len(rest) <= 1:
            reason = str(rest[0]) if rest else ""
            return Declared(first, last, ": ".join(filter(None, (name, reason))))
    return None


def count_or_none(value: object, most: int = NUMBER_MAX) -> int | None:
    """Return a number of records that a line gives; None if it is not such a number."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        return None
    return value


def _count(mapping: Mapping[str, object], name: str, most: int = NUMBER_MAX) -> int:
    count = count_or_none(mapping.get(name), most)
    if count is None:
        value = f"{mapping.get(name)!r:.60}"
        raise UnreadableReport(f"a drain report's {name} is {value}, not a whole number to {most}")
    return count

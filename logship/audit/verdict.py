"""Proves from a sidecar's output that no record is missing, or names those that are.

Every record that logship ships carries a stamp, `<12-character stream>:<10-digit number>`, and a
stream's numbers begin at 1 without a hole. So completeness can be seen from outside: collect the
numbers, take away those that somebody declared lost, and what is left over was lost in silence.

This module is the judge, and a judge does not share the accused's code: it imports nothing of
logship but the root of its errors, and knows the formats from their descriptions alone. It does no
I/O: `Audit.feed` takes lines, `Audit.expect` takes drain reports, `Audit.verdict` says what they
prove. Memory grows with streams and open gaps, not with records.

The order of this file: sets of numbers, what one line says, what is known of one stream, the audit,
the verdict.
"""

from __future__ import annotations

import enum
import json
import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from logship.errors import LogshipError

STAMP_KEY: Final = "logship_id"
GAP_KEY: Final = "logship_gap"
END_KEY: Final = "logship_end"
KIND_KEY: Final = "logship"
SPILLED_KIND: Final = "spilled"
REPORT_SOURCES: Final = {"drain report": "drain report", "spill begins": "spill's first line"}
"""Kinds of lines with a drain report's fields, and what to call them. A spill begins with one,
because the process may be killed before its drain report."""

NESTED_STRINGS_MAX: Final = 3
"""JSON inside a string inside JSON: a log driver, a collector and one to spare each add a layer."""

UNREADABLE_PLACES_MAX: Final = 5
"""Of unreadable lines this many are shown with their place; all are counted."""


class UnreadableReport(LogshipError):  # noqa: N818 - it names the thing, as its siblings do
    """A line says that it is a drain report, but does not have a drain report's fields."""


# --- sets of numbers ------------------------------------------------------------------------------


class Ranges:
    """A set of whole numbers, kept as sorted ranges that neither overlap nor touch.

    Its size is the number of holes, so a stream of a billion records without a hole is one pair.
    """

    __slots__ = ("_firsts", "_lasts")

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._firsts: list[int] = []
        self._lasts: list[int] = []
        for first, last in pairs:
            self.add_range(first, last)

    def add(self, number: int) -> bool:
        """Put `number` into the set; False if it was there already."""
        lasts = self._lasts
        if lasts and lasts[-1] == number - 1:  # in order: nearly always
            lasts[-1] = number
            return True
        if number in self:
            return False
        self.add_range(number, number)
        return True

    def add_range(self, first: int, last: int) -> None:
        """Put the numbers from `first` to `last`, both included, into the set."""
        low = bisect_left(self._lasts, first - 1)  # [low:high] overlap or touch the new range
        high = bisect_right(self._firsts, last + 1)
        if low < high:
            first = min(first, self._firsts[low])
            last = max(last, self._lasts[high - 1])
        self._firsts[low:high] = [first]
        self._lasts[low:high] = [last]

    def overlapping(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """Return, in order, the ranges that share a number with `first` to `last`."""
        low = bisect_left(self._lasts, first)
        high = bisect_right(self._firsts, last)
        return zip(self._firsts[low:high], self._lasts[low:high], strict=True)

    @property
    def count(self) -> int:
        """How many numbers are in the set."""
        return sum(self._lasts) - sum(self._firsts) + len(self._firsts)

    @property
    def highest(self) -> int:
        """The greatest number in the set, 0 if it is empty."""
        return self._lasts[-1] if self._lasts else 0

    def __contains__(self, number: int) -> bool:
        at = bisect_left(self._lasts, number)
        return at < len(self._lasts) and self._firsts[at] <= number

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return zip(self._firsts, self._lasts, strict=True)

    def __len__(self) -> int:
        return len(self._firsts)

    def __or__(self, other: Ranges) -> Ranges:
        both = Ranges(self)
        for first, last in other:
            both.add_range(first, last)
        return both

    def __and__(self, other: Ranges) -> Ranges:
        return Ranges(
            (max(first, low), min(last, high))
            for first, last in self
            for low, high in other.overlapping(first, last)
        )

    def __sub__(self, other: Ranges) -> Ranges:
        return Ranges(pair for first, last in self for pair in other._left_of(first, last))

    def _left_of(self, first: int, last: int) -> Iterator[tuple[int, int]]:
        """What is left of `first` to `last` when this set is taken away."""
        for low, high in self.overlapping(first, last):
            if first < low:
                yield first, low - 1
            first = high + 1
        if first <= last:
            yield first, last

    def __repr__(self) -> str:
        return f"Ranges({list(self)})"


# --- what one line says ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Stamped:
    """A record with a stamp: delivered, or a copy that was spilled to stderr."""

    stream: str
    number: int
    tag: str | None
    record: Mapping[str, object]
    spilled: bool


@dataclass(frozen=True, slots=True)
class Declared:
    """Numbers that somebody said will not, or did not, arrive; `by` names who said so."""

    first: int
    last: int
    reason: str
    by: str


@dataclass(frozen=True, slots=True)
class StreamReport:
    """What a report says of one stream; `end` is None where no end record was numbered."""

    source: str
    stream: str
    tag: str | None
    last: int
    end: int | None
    accepted: int
    refused: int
    declared: tuple[Declared, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """A drain report.

    Attributes:
        streams: what it says of each stream that it names.
        unnamed: accepted records of streams that it does not name; a program that used very many
            tags forgets those that were acked to the end.
        problem: in which way its own sums contradict each other; None if they do not.
    """

    streams: tuple[StreamReport, ...]
    unnamed: int
    problem: str | None


@dataclass(frozen=True, slots=True)
class Nothing:
    """A line without a stamp: text, or somebody else's record."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A line that may have held a record, but cannot be read: torn, cut, or overwritten."""

    why: str


Found = Stamped | Report | Nothing | Unreadable

_STAMP: Final = r"([!#-9;-\[\]-~]{12}):((?!0{10})[0-9]{10})"
"""Twelve visible ASCII characters, but no quote, colon or backslash; then a number from 1."""

_LINE_FORMATS: Final = (
    # JSON lines: `logship receive`, Fluentd's json, Fluent Bit's plain and json_lines; an array of
    # records is Fluent Bit's json
    re.compile(r"(?P<json>\{.*|\[\s*\{.*)", re.DOTALL),
    # Fluentd's out_file: time TAB tag TAB record, either of the first two may be switched off
    re.compile(r"[^\t]*\t(?:(?P<tag>[^\t]*)\t)?(?P<json>\{.*)", re.DOTALL),
    # Fluentd's out_file with `delimiter space` or `comma`
    re.compile(
        r"\d{4}-\d\d-\d\dT[^ ,{]+(?P<delimiter>[ ,])(?P<tag>.*?)(?P=delimiter)(?P<json>\{.*)",
        re.DOTALL,
    ),
    # Fluent Bit's out_file
    re.compile(r"(?P<tag>.*?): \[\d+\.\d+, (?P<json>\{.*)\]", re.DOTALL),
    # what logship wrote to stderr, behind the prefix of something that shows logs
    # (`docker compose logs`, `kubectl logs --prefix`)
    re.compile(
        r'[^{]*(?P<json>\{"logship":\s?"(?:spilled|drain report|spill begins)".*)', re.DOTALL
    ),
)


def read_line(line: str, stamp_key: str = STAMP_KEY) -> list[Found]:
    """Say what one line of a sidecar's output, or of an application's stderr, holds.

    The stamp taken is the outermost: at the top, then inside `record`, then inside JSON in a string
    under `log` or `message`, where a log driver puts a spilled copy. One in any other place is the
    application's own text and counts for nothing.

    Args:
        line: one line without its end.
        stamp_key: the field that carries the stamp.

    Returns:
        One finding, or one per record where the line is an array of records.
    """
    for line_format in _LINE_FORMATS:
        if match := line_format.fullmatch(line):
            return _read_json(match["json"], match.groupdict().get("tag"), stamp_key)
    return [Unreadable("no known format, but a stamp's key")] if stamp_key in line else [Nothing()]


def _read_json(text: str, tag: str | None, stamp_key: str) -> list[Found]:
    try:
        document = json.loads(text)
        records = document if isinstance(document, list) else [document]
        return [_read_record(record, tag, stamp_key) for record in records]
    except UnreadableReport as error:
        return [Unreadable(str(error))]
    except (ValueError, RecursionError):
        return [Unreadable("not JSON, or cut off")]


def _read_record(
    record: object, tag: str | None, stamp_key: str, strings_left: int = NESTED_STRINGS_MAX
) -> Found:
    """Look for a stamp or a report in `record`, level by level, from the outside in."""
    spilled = False
    levels: list[dict[str, object]] = []
    while isinstance(record, dict) and (len(levels) < 2 or spilled):
        if stamp_key in record:
            return _read_stamp(record, _tag_of(record, tag), stamp_key, spilled)
        if str(record.get(KIND_KEY)) in REPORT_SOURCES:
            return read_report(record)
        spilled = record.get(KIND_KEY) == SPILLED_KIND
        tag = _tag_of(record, tag)
        levels.append(record)
        record = record.get("record")
    return _read_strings(levels, stamp_key, strings_left)


def _tag_of(record: Mapping[str, object], known: str | None) -> str | None:
    tag = record.get("tag")
    return tag if known is None and isinstance(tag, str) else known


def _read_stamp(
    record: Mapping[str, object], tag: str | None, stamp_key: str, spilled: bool
) -> Found:
    stamp = record[stamp_key]
    match = re.fullmatch(_STAMP, stamp) if isinstance(stamp, str) else None
    if match is None:
        return Unreadable(f"{stamp_key} is not a stamp")
    return Stamped(match[1], int(match[2]), tag, record, spilled)


def _read_strings(levels: list[dict[str, object]], stamp_key: str, strings_left: int) -> Found:
    """Look into strings of JSON; their record has its own tag, not that of what carried it."""
    texts = [level.get(name) for level in levels for name in ("log", "message")]
    for text in texts:
        if strings_left and isinstance(text, str) and _may_hold_ours(text, stamp_key):
            try:
                found = _read_record(json.loads(text), None, stamp_key, strings_left - 1)
            except ValueError:
                found = Unreadable("a copy inside a string is not JSON, or cut off")
            if not isinstance(found, Nothing):
                return found
    return Nothing()


def _may_hold_ours(text: str, stamp_key: str) -> bool:
    return text.lstrip().startswith("{") and any(
        mark in text for mark in (stamp_key, *REPORT_SOURCES)
    )


def read_report(report: Mapping[str, object]) -> Report:
    """Check and take over a drain report, or a spill's first line, as logship prints it on stderr.

    Raises:
        UnreadableReport: a field is missing or of the wrong kind; the text names it.
    """
    streams = report.get("streams")
    if not isinstance(streams, list):
        raise UnreadableReport("a drain report without a list of streams")
    source = REPORT_SOURCES[str(report[KIND_KEY])]
    named = tuple(_read_stream_report(stream, source) for stream in streams)
    unnamed = _whole_number(report, "accepted") - sum(stream.accepted for stream in named)
    return Report(named, max(unnamed, 0), _sum_problem(report, unnamed))


def _sum_problem(report: Mapping[str, object], unnamed: int) -> str | None:
    names = ("acked", "spooled", "spilled", "dropped", "unacked")
    parts = [_whole_number(report, name) for name in names]
    accepted = _whole_number(report, "accepted")
    if unnamed < 0:
        return f"a drain report says {accepted} accepted, but its streams {accepted - unnamed}"
    if accepted == sum(parts):
        return None
    shown = " + ".join(f"{part} {name}" for part, name in zip(parts, names, strict=True))
    return f"a drain report does not add up: {accepted} accepted, but {shown} = {sum(parts)}"


def _read_stream_report(stream: object, source: str) -> StreamReport:
    if not isinstance(stream, dict) or not isinstance(stream.get("stream"), str):
        raise UnreadableReport("a drain report's stream without a name")
    tag = stream.get("tag")
    return StreamReport(
        source=source,
        stream=stream["stream"],
        tag=tag if isinstance(tag, str) else None,
        last=_whole_number(stream, "last"),
        end=None if stream.get("end") is None else _whole_number(stream, "end"),
        accepted=_whole_number(stream, "accepted"),
        refused=_whole_number(stream, "refused"),
        declared=tuple(_read_declared(stream, source)),
    )


def _read_declared(stream: Mapping[str, object], source: str) -> Iterator[Declared]:
    for name in ("spilled", "dropped", "unacked", "spooled"):
        ranges = stream.get(name, [])
        if not isinstance(ranges, list):
            raise UnreadableReport(f"a drain report's {name} is not a list of ranges")
        for item in ranges:
            if (declared := _declared(item, name, source)) is None:
                raise UnreadableReport(f"a drain report's {name} holds {item!r}, not a range")
            yield declared


def _declared(item: object, name: str, by: str) -> Declared | None:
    """Read `[first, last]` or `[first, last, reason]`; None if it is neither."""
    match item:
        case [int(first), int(last), *rest] if 1 <= first <= last and len(rest) <= 1:
            reason = str(rest[0]) if rest else ""
            return Declared(first, last, ": ".join(filter(None, (name, reason))), by)
    return None


def _whole_number(mapping: Mapping[str, object], name: str) -> int:
    value = mapping.get(name)
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise UnreadableReport(f"a drain report's {name} is {value!r}, not a whole number")
    return value


# --- what is known of one stream ------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class EndRecord:
    """A stream's last record: its number, who wrote it and what it says was accepted."""

    number: int
    recovered: bool
    accepted: int | None
    refused: int | None


@dataclass(slots=True)
class Stream:
    """The evidence on one stream, collected in any order; it draws no conclusions."""

    name: str
    tag: str | None = None
    delivered: Ranges = field(default_factory=Ranges)
    duplicates: int = 0
    spilled: Ranges = field(default_factory=Ranges)
    control: Ranges = field(default_factory=Ranges)
    gaps: dict[str, Ranges] = field(default_factory=dict)
    ends: set[EndRecord] = field(default_factory=set)
    report: StreamReport | None = None
    problems: list[str] = field(default_factory=list)

    def take(self, found: Stamped) -> None:
        """Note a record that was delivered, or a spilled copy; control records also speak."""
        self.tag = self.tag or found.tag
        if found.spilled:
            self.spilled.add(found.number)
        elif not self.delivered.add(found.number):
            self.duplicates += 1
        if GAP_KEY in found.record:
            self._take_gap(found)
        if END_KEY in found.record:
            self._take_end(found)

    def _take_gap(self, found: Stamped) -> None:
        self.control.add(found.number)
        gap = _declared(found.record[GAP_KEY], "", "gap record")
        if gap is None:
            self.problems.append(f"gap record {found.number} does not say which numbers it is for")
        else:
            self.gaps.setdefault(gap.reason, Ranges()).add_range(gap.first, gap.last)

    def _take_end(self, found: Stamped) -> None:
        self.control.add(found.number)
        accepted = found.record.get("logship_accepted")
        refused = found.record.get("logship_refused")
        self.ends.add(
            EndRecord(
                number=found.number,
                recovered=found.record[END_KEY] == "recovered",
                accepted=accepted if isinstance(accepted, int) else None,
                refused=refused if isinstance(refused, int) else None,
            )
        )

    def take_report(self, report: StreamReport) -> None:
        """Note what a report says; of several the one that knows the highest number counts.

        A report is cumulative, so an older one says nothing that a newer one does not; but what it
        called unacked may since have been acked, and must not excuse a loss that came later. A
        spill's first line is older than the drain report, in whatever order they are read.
        """
        if self.report is None or _age(report) >= _age(self.report):
            self.report = report

    @property
    def highest(self) -> int:
        """The greatest number that anything in the files speaks of, 0 if nothing does."""
        declared = max((gap.highest for gap in self.gaps.values()), default=0)
        return max(self.delivered.highest, self.spilled.highest, declared)


def _age(report: StreamReport) -> tuple[int, bool]:
    """Return what is greater the later a report was written."""
    return report.last, report.source == "drain report"


# --- the audit ------------------------------------------------------------------------------------


_HEAD: Final = re.compile(
    rb'(?P<receive>\{"tag":\s?"[^"\\{}]*",\s?"time_ns":\s?\d+,\s?"record":\s?\{)'
    rb"|(?P<json>\{)"
    rb"|(?P<fluentd>[^\t{}]*\t[^\t{}]*\t\{)"
    rb"|(?P<bit>[^{}]*: \[\d+\.\d+, \{)"
)
_BRACES_OPEN: Final = {"receive": 2, "json": 1, "fluentd": 1, "bit": 1}
_CLOSING: Final = {"receive": b"}}", "json": b"}", "fluentd": b"}", "bit": b"}]"}


class _Glance:
    """Sees the outermost stamp of most lines without parsing them, which is several times as fast.

    A stamp seen at a glance is outermost because the line has no other object than the record (and
    the wrapper of `logship receive`): no brace opens or closes before the stamp but those of a
    known head. It is not inside a string, where backslashes would stand before its quotes. The line
    is whole, because only plain members follow up to its end. Any line of which that cannot be said
    is parsed; so is each with further keys of ours, for it may be a control record.
    """

    def __init__(self, stamp_key: str) -> None:
        self._key = json.dumps(stamp_key).encode()
        self._keys_of_ours = stamp_key.count("logship_")
        self._tail = re.compile(
            re.escape(self._key) + rb':\s?"' + _STAMP.encode() + rb'"'
            rb'(?:,\s?"[^"\\{}]*":\s?(?:"[^"\\{}]*"|[-+.0-9eE]+|true|false|null))*'
            rb"(\}[}\]]?)"
        )

    def stamp(self, line: bytes) -> re.Match[bytes] | None:
        """Return a match whose groups 1 and 2 are stream and number; None: parse the line."""
        at = line.rfind(self._key)
        if at < 0 or line.count(b"logship_") != self._keys_of_ours or line.find(b"}", 0, at) >= 0:
            return None
        head = _HEAD.match(line)
        tail = self._tail.fullmatch(line, at)
        if head is None or tail is None or head.lastgroup is None:
            return None
        braces = line.count(b"{", 0, at)
        whole = braces == _BRACES_OPEN[head.lastgroup] and tail[3] == _CLOSING[head.lastgroup]
        return tail if whole else None


@dataclass(frozen=True, slots=True)
class Place:
    """Where an unreadable line is: its source, its number from 1, and why it cannot be read."""

    source: str
    line: int
    why: str


class Audit:
    """Collects evidence from lines and reports, in any order, and draws a verdict from it.

    Args:
        stamp_key: the field that carries the stamp.
    """

    def __init__(self, stamp_key: str = STAMP_KEY) -> None:
        self.stamp_key = stamp_key
        self.lines = 0
        self.unstamped = 0
        self.unreadable = 0
        self.unreadable_places: list[Place] = []
        self.reports = 0
        self.unnamed = 0
        self.problems: list[str] = []
        self._streams: dict[bytes, Stream] = {}
        self._glance = _Glance(stamp_key)
        self._source = "?"
        self._source_began = 0

    def begin(self, source: str) -> None:
        """Say where the lines that follow come from, so that messages can point at them."""
        self._source = source
        self._source_began = self.lines

    def feed(self, lines: Iterable[bytes]) -> None:
        """Take lines of output, without their ends; any bytes may be in them."""
        glance = self._glance.stamp
        known = self._streams.get
        for line in lines:
            self.lines += 1
            match = glance(line)
            stream = known(match[1]) if match else None
            if match is None or stream is None:  # a new stream's first line also tells its tag
                self._feed_parsed(line)
            elif not stream.delivered.add(int(match[2])):
                stream.duplicates += 1

    def _feed_parsed(self, line: bytes) -> None:
        # Bad UTF-8 in one message must not hide the stamp beside it.
        for found in read_line(line.decode("utf-8", "replace"), self.stamp_key):
            match found:
                case Stamped():
                    self._stream(found.stream).take(found)
                case Report():
                    self.expect(found)
                case Unreadable():
                    self._note_unreadable(found.why)
                case Nothing():
                    self.unstamped += 1

    def _note_unreadable(self, why: str) -> None:
        self.unreadable += 1
        if len(self.unreadable_places) < UNREADABLE_PLACES_MAX:
            place = Place(self._source, self.lines - self._source_began, why)
            self.unreadable_places.append(place)

    def expect(self, report: Report) -> None:
        """Take a drain report; every stream that it names must then be accounted for."""
        self.reports += 1
        self.unnamed = max(self.unnamed, report.unnamed)  # of one process there may be several
        if report.problem and report.problem not in self.problems:
            self.problems.append(report.problem)
        for stream in report.streams:
            self._stream(stream.stream).take_report(stream)

    def _stream(self, name: str) -> Stream:
        return self._streams.setdefault(name.encode(), Stream(name))

    def verdict(self) -> Verdict:
        """Draw the conclusions from all that was fed so far."""
        streams = sorted(self._streams.values(), key=lambda stream: stream.name)
        return Verdict(
            streams=tuple(_judge(stream) for stream in streams),
            problems=tuple(self.problems),
            reports=self.reports,
            unnamed=self.unnamed,
            lines=self.lines,
            unstamped=self.unstamped,
            unreadable=self.unreadable,
            unreadable_places=tuple(self.unreadable_places),
        )


# --- the verdict ----------------------------------------------------------------------------------


class Outcome(enum.IntEnum):
    """What an audit concludes; the number is the command's exit code."""

    COMPLETE = 0
    LOST = 1
    NO_STAMPS = 2
    DECLARED = 3


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """What is proved of one stream; each number from 1 to `last` is in exactly one of its sets.

    Attributes:
        stream: its name.
        tag: its tag, where the files or a report tell it.
        last: the stream's last number, as far as known; 0 for a stream without records.
        proof: what says that `last` is the last; None where more may have followed.
        delivered: numbers in the sidecar's output.
        records: how many of those are the application's, not gap or end records.
        duplicates: lines that repeat a number delivered before.
        spilled: numbers that only a spilled copy in the files still holds.
        spilled_too: how many spilled copies were delivered as well.
        declared: ranges that did not arrive and of which somebody said so.
        lost: numbers that did not arrive and of which nobody said so.
        beyond: numbers after `last` in the output.
        refused: records that the client refused at the door, where it says so.
        reported: the last number that a drain report answers for, 0 without one; what is lost up to
            there was acked.
        problems: contradictions in what the stream says of itself.
    """

    stream: str
    tag: str | None
    last: int
    proof: str | None
    delivered: Ranges
    records: int
    duplicates: int
    spilled: Ranges
    spilled_too: int
    declared: tuple[Declared, ...]
    lost: Ranges
    beyond: Ranges
    refused: int
    reported: int
    problems: tuple[str, ...]

    @property
    def declared_count(self) -> int:
        """How many numbers are declared, spilled ones without a copy included."""
        return sum(item.last - item.first + 1 for item in self.declared)

    @property
    def outcome(self) -> Outcome:
        """The stream's own outcome."""
        if self.lost or self.problems:
            return Outcome.LOST
        if self.spilled or self.declared or self.proof is None:
            return Outcome.DECLARED
        return Outcome.COMPLETE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit proves, stream by stream, and how well it could read its input.

    Attributes:
        streams: what is proved of each, by name.
        problems: contradictions in the reports' own sums.
        reports: how many drain reports there were.
        unnamed: at least so many records are called accepted by reports that do not name their
            streams; nothing shows whether those streams are among the ones seen.
        lines: how many lines were read.
        unstamped: lines without a stamp: text, or somebody else's records.
        unreadable: lines that may have held a record but cannot be read.
        unreadable_places: where the first of them are.
    """

    streams: tuple[StreamVerdict, ...]
    problems: tuple[str, ...]
    reports: int
    unnamed: int
    lines: int
    unstamped: int
    unreadable: int
    unreadable_places: tuple[Place, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst of the streams' outcomes: lost, then declared, then complete."""
        outcomes = {stream.outcome for stream in self.streams}
        if self.problems or Outcome.LOST in outcomes:
            return Outcome.LOST
        if not self.streams and not self.reports:
            return Outcome.NO_STAMPS
        quiet = self.unnamed == 0 and Outcome.DECLARED not in outcomes
        return Outcome.COMPLETE if quiet else Outcome.DECLARED


def _judge(stream: Stream) -> StreamVerdict:
    last, proof = _last_number(stream)
    expected = Ranges([(1, last)] if last else [])
    missing = expected - stream.delivered
    spilled = missing & stream.spilled
    declared, lost = _split_declared(stream, missing - spilled)
    return StreamVerdict(
        stream=stream.name,
        tag=(stream.report and stream.report.tag) or stream.tag,
        last=last,
        proof=proof,
        delivered=stream.delivered,
        records=(stream.delivered - stream.control).count,
        duplicates=stream.duplicates,
        spilled=spilled,
        spilled_too=(stream.spilled & stream.delivered).count,
        declared=declared,
        lost=lost,
        beyond=(stream.delivered | stream.spilled) - expected,
        refused=_refused(stream),
        reported=stream.report.last if stream.report else 0,
        problems=tuple(dict.fromkeys(_problems(stream))),
    )


def _last_number(stream: Stream) -> tuple[int, str | None]:
    """Return the stream's last number and what proves that it is the last, None if nothing does.

    A report that knows of no end record was written before the stream ended, so it proves nothing
    once the files hold a higher number than it knows.
    """
    report = stream.report
    if stream.ends:
        end = max(stream.ends, key=lambda item: item.number)
        proof = "recovered end record" if end.recovered else "end record"
        return max(end.number, report.last if report else 0), proof
    if report is None or (report.end is None and stream.highest > report.last):
        return stream.highest, None
    return report.last if report.accepted else 0, report.source


def _split_declared(stream: Stream, missing: Ranges) -> tuple[tuple[Declared, ...], Ranges]:
    """Sort what is missing into what was declared, by gap records first, and what was not."""
    declared: list[Declared] = []
    for (reason, by), numbers in _claims(stream).items():
        for first, last in missing & numbers:
            declared.append(Declared(first, last, reason, by))
        missing = missing - numbers
    return tuple(declared), missing


def _claims(stream: Stream) -> dict[tuple[str, str], Ranges]:
    """Return what was declared, by reason and by who said so."""
    claims = {(reason, "gap record"): stream.gaps[reason] for reason in sorted(stream.gaps)}
    for item in stream.report.declared if stream.report else ():
        numbers = claims.setdefault((item.reason, item.by), Ranges())
        numbers.add_range(item.first, item.last)
    return claims


def _refused(stream: Stream) -> int:
    known = [end.refused or 0 for end in stream.ends]
    return max([*known, stream.report.refused if stream.report else 0])


def _problems(stream: Stream) -> Iterator[str]:
    """Name the contradictions in what a stream says of itself: none of it can then be believed."""
    yield from stream.problems
    yield from _end_problems(stream)
    report = stream.report
    if report is not None:
        yield from _report_problems(stream, report)
        if stream.highest <= report.last:  # else records were numbered while it was written
            yield from _count_problem(stream, report.source, report.accepted, report.last)
    for end in sorted(stream.ends, key=lambda item: item.number):
        if end.accepted is not None:
            yield from _count_problem(stream, "end record", end.accepted, end.number)


def _end_problems(stream: Stream) -> Iterator[str]:
    numbers = sorted({end.number for end in stream.ends})
    if len(numbers) > 1 and _is_ended_again(stream, numbers):
        numbers = numbers[1:]
    if len(numbers) > 1:
        yield f"has end records {' and '.join(map(str, numbers))}: only one can be the end"
    elif numbers and stream.highest > numbers[0]:
        yield f"goes on to {stream.highest} after its end record {numbers[0]}"


def _is_ended_again(stream: Stream, ends: list[int]) -> bool:
    """Tell whether a recoverer ended the stream once more, and only that follows its own end.

    A process that sent its end record from memory, and died before the ack, leaves no word of it on
    its spool; who recovers that cannot know that the sidecar has it.
    """
    recovered = sorted((end.number, end.recovered) for end in stream.ends)
    behind = Ranges([(ends[0] + 1, ends[1])])
    records = (stream.delivered | stream.spilled) & (behind - stream.control)
    return recovered == [(ends[0], False), (ends[1], True)] and not records


def _report_problems(stream: Stream, report: StreamReport) -> Iterator[str]:
    if report.end is None:
        if stream.ends and report.last > max(end.number for end in stream.ends):
            yield f"ends before {report.last}, the last number that its {report.source} knows"
        return
    if report.end != report.last:
        yield f"has numbers up to {report.last} after the end {report.end} in its {report.source}"
    if stream.highest > report.last:
        yield f"goes on to {stream.highest} after the end {report.end} in its {report.source}"
    if stream.ends and report.end not in {end.number for end in stream.ends}:
        yield f"has an end record that its {report.source} does not know: it says {report.end}"


def _count_problem(stream: Stream, source: str, accepted: int, last: int) -> Iterator[str]:
    """Compare how many records were accepted with how many numbers there are for them.

    What did not arrive may have been a gap record, so with holes the count is only bounded.
    """
    numbers = Ranges([(1, last)] if last else [])
    control = stream.control
    if stream.report and stream.report.end:
        control = control | Ranges([(stream.report.end, stream.report.end)])
    seen = (stream.delivered | stream.spilled) & numbers
    known = (seen - control).count
    unknown = (numbers - seen - control).count
    if not known <= accepted <= known + unknown:
        has = f"{known}" if not unknown else f"{known} to {known + unknown}"
        yield f"has numbers for {has} records, but its {source} says {accepted} were accepted"

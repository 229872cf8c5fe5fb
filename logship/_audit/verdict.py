"""Draws conclusions from the evidence about each stream."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from logship._audit.evidence import EndRecord, Refusals, Stream
from logship._audit.ranges import Ranges
from logship._audit.reports import ON_PURPOSE, REPORT_SOURCES, StreamReport

REASONS_MAX: Final = 50
"""Several times the reasons that logship gives. What has another one is shown under `OTHER`, since
each reason is compared with all missing numbers."""

OTHER: Final = "other reasons"

Claims = dict[tuple[str, str], Ranges]
"""Numbers that are declared as not delivered, by their reason and by what declares them."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where an unreadable line is: its source and its number from 1, and why it is unreadable."""

    source: str
    line: int
    why: str


class Outcome(enum.Enum):
    """What an audit concludes; the value is its word in `--json`."""

    COMPLETE = "complete"
    LOST = "lost"
    NO_STAMPS = "no_stamps"
    DECLARED = "declared"
    UNPROVEN = "unproven"

    @property
    def exit_code(self) -> int:
        """The command's exit code."""
        return {Outcome.COMPLETE: 0, Outcome.LOST: 1, Outcome.NO_STAMPS: 2}.get(self, 3)


@dataclass(frozen=True, slots=True)
class StreamVerdict:
    """What is proved about one stream. Each number from 1 to `last` is in exactly one of its sets.

    Attributes:
        tag: Its tag, where the files or a report give it.
        last: The stream's last known number; 0 for a stream without records.
        proof: What proves that `last` is the last number; None where more may have followed.
        delivered: Numbers in the sidecar's output.
        records: How many of these belong to the application, gap and end records not counted.
        duplicates: Lines that repeat a number delivered before.
        spilled: Numbers that only a spilled copy in the files still holds.
        spilled_too: How many spilled copies were delivered as well.
        declared: Numbers that did not arrive and were declared.
        absent: How many of the spilled and declared numbers are, or may be, those of records of the
            application that were not kept back on purpose.
        lost: Numbers that did not arrive and were not declared.
        beyond: Numbers of records after `last`, and after the last one that a report knows.
        refused: Records of its tag that the client is known to have refused. An end record counts
            those before it, so a later report counts more.
        reported: The last number that a drain report answers for, 0 without a report. A number that
            is lost up to there was acked.
        problems: Contradictions in what the stream says about itself.
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
    declared: Claims
    absent: int
    lost: Ranges
    beyond: Ranges
    refused: int
    reported: int
    problems: tuple[str, ...]

    @property
    def declared_count(self) -> int:
        """How many numbers are declared as missing, including spilled ones without a copy."""
        declared = sum(numbers.count for numbers in self.declared.values())
        return declared - self.kept_back_count

    @property
    def kept_back_count(self) -> int:
        """How many numbers are declared as those of records that were kept back on purpose."""
        return _kept_back(self.declared).count

    @property
    def outcome(self) -> Outcome:
        """The stream's own outcome."""
        if self.lost or self.problems:
            return Outcome.LOST
        is_unclear = self.refused > 0 and not self.reported  # was the application told?
        if self.proof is None or is_unclear:
            return Outcome.UNPROVEN
        return Outcome.DECLARED if self.absent else Outcome.COMPLETE


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an audit proves, stream by stream, and how well it could read its input.

    Attributes:
        refusals: What is proved about the refused records of each process life.
        problems: Contradictions in the reports' own sums.
        unnamed: At least this many records were accepted, according to reports that do not name
            their streams. Whether these streams are among the ones seen is unknown.
        unstamped: Lines without a stamp: text, or records that logship did not ship.
        unreadable: Lines that may have held a record but cannot be read.
        torn_reports: How many of these are drain reports, which may have named other streams.
        unreadable_places: Where the first of them are.
    """

    streams: tuple[StreamVerdict, ...]
    refusals: tuple[Refusals, ...]
    problems: tuple[str, ...]
    reports: int
    unnamed: int
    lines: int
    unstamped: int
    unreadable: int
    torn_reports: int
    unreadable_places: tuple[Place, ...]

    @property
    def outcome(self) -> Outcome:
        """The worst of the streams' outcomes: lost, then unproven, declared, and complete."""
        outcomes = {stream.outcome for stream in self.streams}
        if self.problems or Outcome.LOST in outcomes or any(each.lost for each in self.refusals):
            return Outcome.LOST
        is_any_known = any(stream.last or stream.proof for stream in self.streams)
        if not (is_any_known or self.reports or self.torn_reports or self.refusals):
            return Outcome.NO_STAMPS
        if self.unnamed or self.torn_reports or Outcome.UNPROVEN in outcomes:
            return Outcome.UNPROVEN
        is_declared = Outcome.DECLARED in outcomes or any(each.untold for each in self.refusals)
        return Outcome.DECLARED if is_declared else Outcome.COMPLETE


def judge(stream: Stream) -> StreamVerdict:
    """Return what the evidence about one stream proves."""
    (last, proof), report = _last_number(stream), stream.report
    reported = report.last if report else 0
    own_ends = [end.number for end in _own_ends(stream)]
    # Behind the process's own end record are control records of recoverers. One that does not
    # arrive is no loss: a later recoverer declares what is still to be declared.
    last_of_process = max(*own_ends, reported) if own_ends else last
    missing = Ranges.up_to(last_of_process) - stream.delivered
    spilled = missing & stream.spilled
    declared, lost = _split_declared(stream, missing - spilled)
    control = _control_numbers(stream)
    return StreamVerdict(
        stream=stream.name,
        tag=(report and report.tag) or stream.tag,
        last=last,
        proof=proof,
        delivered=stream.delivered,
        records=(stream.delivered - stream.control).count,
        duplicates=stream.duplicates,
        spilled=spilled,
        spilled_too=(stream.spilled & stream.delivered).count,
        declared=declared,
        absent=(missing - lost - _kept_back(declared) - control).count,
        lost=lost,
        beyond=_records(stream) - Ranges.up_to(max(last, reported)),
        refused=max([*(end.refused or 0 for end in stream.ends), report.refused if report else 0]),
        reported=reported,
        problems=tuple(dict.fromkeys(_problems(stream))),
    )


def _records(stream: Stream) -> Ranges:
    """Return the numbers of the records that are in the files, without control records."""
    return (stream.delivered | stream.spilled) - stream.control


def _control_numbers(stream: Stream) -> Ranges:
    """Return the numbers that are known to be those of control records."""
    end = stream.report.end if stream.report else None
    return stream.control | Ranges([(end, end)] if end else [])


def _last_number(stream: Stream) -> tuple[int, str | None]:
    """Return the stream's last number and what proves that it is the last; None if nothing does.

    A report without an end record was written before the stream ended. It proves nothing if the
    files hold a higher number than the report, or if it is a spill's first line: a spill may begin
    while records are still accepted.
    """
    report = stream.report
    if stream.ends:
        end = max(stream.ends, key=lambda item: item.number)
        proof = "recovered end record" if end.recovered else "end record"
        return max(end.number, report.last if report else 0), proof
    if report is None:
        return stream.highest, None
    is_begun = report.source == REPORT_SOURCES["spill begins"]
    if report.end is None and (is_begun or stream.highest > report.last):
        return stream.reach, None
    return report.last if report.accepted else 0, report.source


def _own_ends(stream: Stream) -> list[EndRecord]:
    """Return the end records of the process itself; there should be one at most."""
    return [end for end in stream.ends if not end.recovered]


def _split_declared(stream: Stream, missing: Ranges) -> tuple[Claims, Ranges]:
    """Divide the missing numbers into declared ones, gap records first, and all others."""
    declared: Claims = {}
    for claim, numbers in _claims(stream).items():
        if claimed := numbers & missing:
            declared[claim] = claimed
            missing = missing - claimed
    return declared, missing


def _kept_back(declared: Claims) -> Ranges:
    """Return the numbers of records that settings of the application kept back: no loss."""
    return Ranges.union(
        numbers
        for (reason, _), numbers in declared.items()
        if reason.removeprefix("dropped: ") in ON_PURPOSE
    )


def _claims(stream: Stream) -> Claims:
    """Return all that is declared."""
    claims: Claims = {}

    def put(reason: str, by: str, ranges: Iterable[tuple[int, int]]) -> None:
        is_one_too_many = (reason, by) not in claims and len(claims) >= REASONS_MAX
        known = claims.setdefault((OTHER if is_one_too_many else reason, by), Ranges())
        for first, last in ranges:
            known.add_range(first, last)

    for reason in sorted(stream.gaps):
        put(reason, "gap record", stream.gaps[reason])
    if report := stream.report:
        for first, last, reason in report.declared:
            put(reason, report.source, [(first, last)])
        if report.end:
            put("end record", report.source, [(report.end, report.end)])
    return claims


def _problems(stream: Stream) -> Iterator[str]:
    """Yield the contradictions in what a stream says about itself."""
    yield from stream.problems
    yield from _end_problems(stream)
    report = stream.report
    if report is not None:
        yield from _report_problems(stream, report)
        if stream.highest <= report.last:  # else records were numbered while it was written
            yield from _count_problem(stream, report.source, report.accepted, report.last)


def _end_problems(stream: Stream) -> Iterator[str]:
    """Yield what contradicts the end records. A recoverer may write any number of them.

    Its first one may come before the process's own: control records that were in memory alone leave
    no trace on the spool, and their numbers are used again.
    """
    own = _own_ends(stream)
    first = min((end.number for end in stream.ends), default=0)
    if len(own) > 1:
        yield f"has {len(own)} end records of its own that differ: only one can be the end"
        return  # to compare each of them with all numbers would cost the input's length squared
    for end in own:
        if end.accepted is not None:
            yield from _count_problem(stream, "end record", end.accepted, end.number)
    if first and (behind := _records_behind(stream, first)):
        yield f"goes on to {behind} after its end record {first}"


def _records_behind(stream: Stream, end: int) -> int:
    """Return the highest number of a record behind an end record, or 0 where there is none.

    Control records may follow it. A recoverer declares gaps there, and ends the stream once more.
    So it does where the process sent its end record from memory, of which no word is on the spool.
    """
    highest = max(_records(stream).highest, stream.stated)
    return highest if highest > end else 0


def _report_problems(stream: Stream, report: StreamReport) -> Iterator[str]:
    if report.end is None:
        if stream.ends and report.last > max(end.number for end in stream.ends):
            yield f"ends before {report.last}, the last number that its {report.source} knows"
        return
    if report.end != report.last:
        yield f"has numbers up to {report.last} after the end {report.end} in its {report.source}"
    if behind := _records_behind(stream, report.end):
        yield f"goes on to {behind} after the end {report.end} in its {report.source}"
    if any(end.number != report.end for end in _own_ends(stream)):
        yield f"has an end record that its {report.source} does not know: it says {report.end}"


def _count_problem(stream: Stream, source: str, accepted: int, last: int) -> Iterator[str]:
    """Compare how many records were accepted with how many numbers there are for them.

    A missing number may belong to a gap record, so with holes the count is only bounded.
    """
    numbers = Ranges.up_to(last)
    control = _control_numbers(stream)
    seen = (stream.delivered | stream.spilled) & numbers
    known = (seen - control).count
    unknown = (numbers - seen - control).count
    if not known <= accepted <= known + unknown:
        has = f"{known}" if not unknown else f"{known} to {known + unknown}"
        yield f"has numbers for {has} records, but its {source} says {accepted} were accepted"

"""Collects what lines and reports say about one stream, and about refused records."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, Final

from logship._audit.lines import Stamped
from logship._audit.ranges import Ranges
from logship._audit.reports import (
    AGES,
    Declared,
    RefusedCount,
    StreamReport,
    count_or_none,
    read_range,
)

GAP_KEY: Final = "logship_gap"
END_KEY: Final = "logship_end"
HIGH_WATER_KEY: Final = "logship_high_water"

PROBLEMS_MAX: Final = 100
"""How many contradictions of a stream in its own records are kept; one is as good as many."""


@dataclass(frozen=True, slots=True)
class EndRecord:
    """A stream's last record: its number, its writer and how many records it says were accepted."""

    number: int
    recovered: bool
    accepted: int | None
    refused: int | None


@dataclass(slots=True)
class Stream:
    """The evidence about one stream, collected in any order; it draws no conclusions."""

    name: str
    tag: str | None = None
    delivered: Ranges = field(default_factory=Ranges)
    duplicates: int = 0
    spilled: Ranges = field(default_factory=Ranges)
    control: Ranges = field(default_factory=Ranges)
    gaps: dict[str, Ranges] = field(default_factory=dict)
    ends: set[EndRecord] = field(default_factory=set)
    stated: int = 0
    report: StreamReport | None = None
    problems: dict[str, None] = field(default_factory=dict)

    def take(self, found: Stamped) -> None:
        """Note a delivered record or a spilled copy, and what a control record declares."""
        self.tag = self.tag or found.tag
        if found.spilled:
            self.spilled.add(found.number)
        elif not self.delivered.add(found.number):
            self.duplicates += 1
        if GAP_KEY in found.record:
            self._take_gap(found)
        if END_KEY in found.record:
            self._take_end(found)
        if HIGH_WATER_KEY in found.record:
            self.control.add(found.number)

    def take_stated(self, number: int) -> None:
        """Note that a high-water record names this number."""
        self.stated = max(self.stated, number)

    def _take_gap(self, found: Stamped) -> None:
        self.control.add(found.number)
        gap = read_range(found.record[GAP_KEY])
        if gap is None:
            self._take_problem(f"gap record {found.number} does not say which numbers it is for")
        else:
            self.gaps.setdefault(gap.reason, Ranges()).add_range(gap.first, gap.last)

    def _take_end(self, found: Stamped) -> None:
        self.control.add(found.number)
        self.ends.add(
            EndRecord(
                number=found.number,
                recovered=found.record[END_KEY] == "recovered",
                accepted=self._take_count(found, "logship_accepted"),
                refused=self._take_count(found, "logship_refused"),
            )
        )

    def _take_count(self, found: Stamped, name: str) -> int | None:
        value = found.record.get(name)
        count = count_or_none(value)
        if count is None and isinstance(value, int):
            self._take_problem(f"end record {found.number} has a {name} that is not a count")
        return count

    def _take_problem(self, problem: str) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            self.problems[problem] = None

    def take_report(self, report: StreamReport) -> None:
        """Note what a report says. Of several, the one that knows the highest number counts.

        A report is cumulative, so a newer one says all that an older one does. A record that an
        older report called unacked may have been acked since, so the older report must not excuse a
        later loss. A spill's first line is older than the drain report, and that is older than its
        corrections, whichever is read first.
        """
        if self.report is None or _age(report) >= _age(self.report):
            self.report = report

    def absorb(self, *others: Stream, overlaps: bool = False) -> None:
        """Take what other files say about the same stream; `others` stay as they are.

        The ranges of all files are united at once. To unite them with those of one file after the
        other would cost their number squared.

        Args:
            others: The evidence in them.
            overlaps: Whether they may have the very same lines: then those are not duplicates.
        """
        streams = (self, *others)
        delivered = Ranges.union(each.delivered for each in streams)
        if not overlaps:
            lines = sum(each.delivered.count + each.duplicates for each in streams)
            self.duplicates = lines - delivered.count
        self.delivered = delivered
        self.spilled = Ranges.union(each.spilled for each in streams)
        self.control = Ranges.union(each.control for each in streams)
        gaps: dict[str, list[Ranges]] = {}
        for reason, numbers in chain.from_iterable(each.gaps.items() for each in streams):
            gaps.setdefault(reason, []).append(numbers)
        self.gaps = {reason: Ranges.union(sets) for reason, sets in gaps.items()}
        for other in others:
            self.tag = self.tag or other.tag
            self.ends |= other.ends
            self.take_stated(other.stated)
            for problem in other.problems:
                self._take_problem(problem)
            if other.report is not None:
                self.take_report(other.report)

    @property
    def highest(self) -> int:
        """The greatest number that a line in the files mentions, 0 if none does."""
        declared = max((gap.highest for gap in self.gaps.values()), default=0)
        return max(self.delivered.highest, self.spilled.highest, self.stated, declared)

    @property
    def reach(self) -> int:
        """The greatest number that a line or a report mentions, 0 if none does."""
        report = self.report
        return max(self.highest, report.last if report and report.accepted else 0)

    def stored(self) -> dict[str, Any]:
        """Return it as plain values that JSON can hold, without the fields that say nothing."""
        fields: dict[str, Any] = {
            "name": self.name,
            "tag": self.tag,
            "delivered": [*self.delivered],
            "duplicates": self.duplicates,
            "spilled": [*self.spilled],
            "control": [*self.control],
            "gaps": {reason: [*numbers] for reason, numbers in self.gaps.items()},
            "ends": [dataclasses.asdict(end) for end in self.ends],
            "stated": self.stated,
            "report": dataclasses.asdict(self.report) if self.report else None,
            "problems": [*self.problems],
        }
        return {name: value for name, value in fields.items() if value}

    @classmethod
    def restored(cls, fields: dict[str, Any]) -> Stream:
        """Return the stream that `stored` was called of.

        Raises:
            KeyError, TypeError, ValueError: `stored` did not make these fields.
        """
        problems = dict.fromkeys(fields.get("problems", ()))
        stream = cls(**{**fields, "report": None, "problems": problems})
        for name in ("delivered", "spilled", "control"):
            setattr(stream, name, Ranges(fields.get(name, ())))
        stream.gaps = {reason: Ranges(pairs) for reason, pairs in fields.get("gaps", {}).items()}
        stream.ends = {EndRecord(**end) for end in fields.get("ends", ())}
        if report := fields.get("report"):
            declared = tuple(Declared(*each) for each in report["declared"])
            stream.report = StreamReport(**{**report, "declared": declared})
        return stream


def _age(report: StreamReport) -> tuple[int, int]:
    """Return a key that is greater for a report that was written later."""
    return report.last, AGES[report.source]


@dataclass(slots=True)
class Refusals:
    """What is known of the records that the client of one process life refused.

    They have no number of a stream. A call such as `emit` returns False if it refuses its record. A
    logging call returns nothing, so logship writes the record to stderr, with a number of its own.

    Attributes:
        life: What the lines are known by.
        copies: Numbers of the lines in the files. Nothing else of these records exists.
        expected: The highest number of a line that was seen elsewhere.
        count: The latest count in a report; zeros without one.
    """

    life: str
    copies: Ranges = field(default_factory=Ranges)
    expected: int = 0
    count: RefusedCount = RefusedCount("", 0, 0, 0)

    def take_count(self, count: RefusedCount) -> None:
        """Note what a report says. Counts only grow, so the highest is the latest."""
        if (count.lines, count.told) >= (self.count.lines, self.count.told):
            self.count = count

    @property
    def _counted(self) -> Ranges:
        """What a report counts, or else the number of a line that was seen elsewhere."""
        return Ranges.up_to(max(self.expected, self.count.lines))

    @property
    def declared(self) -> int:
        """How many lines are not in the files, but counted."""
        return (self._counted - self.copies).count

    @property
    def lost(self) -> Ranges:
        """Numbers of lines that are missing, and that nothing counts."""
        return Ranges.up_to(self.copies.highest) - self.copies - self._counted

    @property
    def untold(self) -> int:
        """How many records were refused by calls that returned no error."""
        return self.copies.count + self.declared + self.lost.count

"""Collects what lines and reports say about one stream."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from logship._audit.lines import Stamped
from logship._audit.ranges import Ranges
from logship._audit.reports import AGES, StreamReport, count_or_none, read_range

GAP_KEY: Final = "logship_gap"
END_KEY: Final = "logship_end"
HIGH_WATER_KEY: Final = "logship_high_water"


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
    problems: list[str] = field(default_factory=list)

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
        gap = read_range(found.record[GAP_KEY], "", "gap record")
        if gap is None:
            self.problems.append(f"gap record {found.number} does not say which numbers it is for")
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
            self.problems.append(f"end record {found.number} has a {name} that is not a count")
        return count

    def take_report(self, report: StreamReport) -> None:
        """Note what a report says. Of several, the one that knows the highest number counts.

        A report is cumulative, so a newer one says all that an older one does. A record that an
        older report called unacked may have been acked since, so the older report must not excuse a
        later loss. A spill's first line is older than the drain report, and that is older than its
        corrections, whichever is read first.
        """
        if self.report is None or _age(report) >= _age(self.report):
            self.report = report

    def absorb(self, other: Stream, *, overlaps: bool = False) -> None:
        """Take what another file says about the same stream; `other` stays as it is.

        Args:
            other: The evidence in it.
            overlaps: Whether both may have the very same lines: then those are not duplicates.
        """
        self.tag = self.tag or other.tag
        if not overlaps:
            self.duplicates += other.duplicates + (self.delivered & other.delivered).count
        self.delivered |= other.delivered
        self.spilled |= other.spilled
        self.control |= other.control
        for reason, numbers in other.gaps.items():
            self.gaps[reason] = self.gaps.get(reason, Ranges()) | numbers
        self.ends |= other.ends
        self.take_stated(other.stated)
        if other.report is not None:
            self.take_report(other.report)
        self.problems = list(dict.fromkeys((*self.problems, *other.problems)))

    @property
    def highest(self) -> int:
        """The greatest number that a line in the files mentions, 0 if none does."""
        declared = max((gap.highest for gap in self.gaps.values()), default=0)
        return max(self.delivered.highest, self.spilled.highest, self.stated, declared)


def _age(report: StreamReport) -> tuple[int, int]:
    """Return a key that is greater for a report that was written later."""
    return report.last, AGES[report.source]

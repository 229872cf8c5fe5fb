"""What is known of the records that the client of one process life refused.

They have no number of a stream. A call such as `emit` returns False if it refuses its record. A
logging call returns nothing, so logship writes the record to stderr, with a number of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from logship._audit.ranges import Ranges
from logship._audit.reports import RefusedCount


@dataclass(slots=True)
class Refusals:
    """The evidence, collected in any order.

    Attributes:
        life: What the lines are known by.
        copies: Numbers of the lines in the files.
        expected: The highest number of a line that was seen elsewhere.
        count: The latest count in a report.
    """

    life: str
    copies: Ranges = field(default_factory=Ranges)
    expected: int = 0
    count: RefusedCount | None = None

    def expect(self, number: int) -> None:
        """Note that a line has this number."""
        self.expected = max(self.expected, number)

    def take_count(self, count: RefusedCount) -> None:
        """Note what a report says. Counts only grow, so the highest is the latest."""
        known = self.count
        if known is None or (count.lines, count.told) >= (known.lines, known.told):
            self.count = count


@dataclass(frozen=True, slots=True)
class RefusalsVerdict:
    """What became of the records that one process life refused.

    Attributes:
        life: What the lines are known by.
        copies: Lines in the files. Nothing else of these records exists.
        declared: How many lines are not in the files, but counted by a report or by the number of a
            line that was seen elsewhere.
        lost: Numbers of lines that are missing, and that nothing counts.
        unwritten: How many of the declared ones stderr did not take, according to the report.
        told: Refused records whose calls returned an error or False.
    """

    life: str
    copies: Ranges
    declared: int
    lost: Ranges
    unwritten: int
    told: int

    @property
    def untold(self) -> int:
        """How many records were refused by calls that returned no error."""
        return self.copies.count + self.declared + self.lost.count


def judge_refusals(evidence: Refusals) -> RefusalsVerdict:
    """Return what the evidence proves. The highest number of a line is as good as a report."""
    counted = max(evidence.expected, evidence.count.lines if evidence.count else 0)
    last = max(counted, evidence.copies.highest)
    missing = Ranges.up_to(last) - evidence.copies
    declared = missing & Ranges.up_to(counted)
    return RefusalsVerdict(
        life=evidence.life,
        copies=evidence.copies,
        declared=declared.count,
        lost=missing - declared,
        unwritten=evidence.count.unwritten if evidence.count else 0,
        told=evidence.count.told if evidence.count else 0,
    )

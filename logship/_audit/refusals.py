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
    """The evidence, collected in any order, and what it proves.

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

    def expect(self, number: int) -> None:
        """Note that a line has this number."""
        self.expected = max(self.expected, number)

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

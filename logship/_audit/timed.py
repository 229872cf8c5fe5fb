"""Outputs that keep records by their time: a log group, an index, a stream of Loki.

Such an output has no order of arrival. A record may come after records that are newer, because a
sidecar repeats what failed. So each reading begins some time before the newest record that is
known, and what it has of the time before is read again. A record from the future is not taken for
the newest one: it would hide all that come before its time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from logship._audit.outputs import Part, Position, Reading

LATE_MILLISECONDS: Final = 300_000
"""So much later than a newer record a record may come."""

BATCH_LINES: Final = 1000

Fetch = Callable[[int], Iterator[tuple[int, bytes]]]
"""Yields times in milliseconds since 1970, and lines, of all records from a time on."""


@dataclass(frozen=True)
class TimedPart(Part):
    """All of one output, or of one of its indices.

    Attributes:
        fetch: Asks for records.
    """

    fetch: Fetch

    overlaps = True

    def read(self, position: Position | None) -> Reading:
        """Return the lines that may be new; what is new is known only afterwards."""
        now = time.time_ns() // 1_000_000
        position = {"newest": min(position["newest"] if position else 0, now)}
        return Reading(self._batches(position, now), position)

    def _batches(self, position: Position, now: int) -> Iterator[list[bytes]]:
        """Yield the lines. The position is the time of the newest one that is not behind `now`."""
        found = self.fetch(max(0, position["newest"] - LATE_MILLISECONDS))
        while batch := list(islice(found, BATCH_LINES)):
            past = (milliseconds for milliseconds, _ in batch if milliseconds <= now)
            position["newest"] = max(position["newest"], max(past, default=0))
            yield [line for _, line in batch]

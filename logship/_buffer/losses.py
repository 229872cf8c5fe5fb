"""Counts records that will not be delivered. Each function returns a part of a change."""

from __future__ import annotations

from typing import NamedTuple

from logship._buffer.changes import Change
from logship._buffer.counters import Counters
from logship._buffer.ranges import Gap, merge_gaps, renamed_gaps
from logship._buffer.stream import Stream
from logship._reasons import SPILLED


class Numbered(NamedTuple):
    """A record that was numbered and not buffered.

    Attributes:
        stream: The stream that gave the number.
        number: The number, already noted as a gap.
        entry: The complete entry, stamp included.
    """

    stream: Stream
    number: int
    entry: bytes


def lost(counters: Counters, stream: Stream, gaps: list[Gap], reason: str, records: int) -> Change:
    """Count records as lost: as spilled, or as dropped for another reason.

    Args:
        counters: Of all streams.
        stream: Whose records.
        gaps: Their numbers, those of control records among them.
        reason: Why.
        records: How many of them the application logged.
    """
    gaps_now = merge_gaps(stream.lost, gaps)
    is_spilled = reason == SPILLED
    total = (counters.spilled if is_spilled else counters.dropped[reason]) + records

    def count() -> None:
        stream.lost = gaps_now
        if is_spilled:
            counters.spilled = total
        else:
            counters.dropped[reason] = total

    return count


def spilled_after_all(counters: Counters, numbered: Numbered, reason: str) -> Change:
    """Count a dropped record as spilled: it reached stderr after all."""
    stream = numbered.stream
    lost_now = renamed_gaps(stream.lost, numbered.number, SPILLED)
    undeclared = renamed_gaps(stream.undeclared, numbered.number, SPILLED)
    dropped, spilled = counters.dropped[reason] - 1, counters.spilled + 1

    def count() -> None:
        stream.lost, stream.undeclared = lost_now, undeclared
        counters.dropped[reason] = dropped
        counters.spilled = spilled

    return count

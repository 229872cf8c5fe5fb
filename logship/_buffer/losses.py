"""Counts records that will not be delivered, and tells what is to be declared of them.

Each function computes what a change stores.
"""

from __future__ import annotations

from itertools import chain
from typing import NamedTuple

from logship._buffer.changes import Change
from logship._buffer.chunk import Chunk
from logship._buffer.counters import Counters
from logship._buffer.ranges import (
    Gap,
    has_outgrown,
    merge_gaps,
    merge_ranges,
    renamed_gaps,
    subtract_ranges,
)
from logship._buffer.stream import Stream
from logship._reasons import SPILLED

LOST_MAX = 1000
"""So many gaps of a stream are kept for the report. Where there are more, the oldest are forgotten
that the sidecar has acked the declaration of: a program may be overloaded for weeks."""


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
    if has_outgrown(LOST_MAX, len(stream.lost), len(gaps_now)):
        gaps_now = _without_told(stream, gaps_now, gaps)
    is_spilled = reason == SPILLED
    total = (counters.spilled if is_spilled else counters.dropped[reason]) + records

    def count() -> None:
        stream.lost = gaps_now
        if is_spilled:
            counters.spilled = total
        else:
            counters.dropped[reason] = total

    return count


def _without_told(stream: Stream, gaps: list[Gap], lost_now: list[Gap]) -> list[Gap]:
    """Return gaps without the oldest that need not be told again; half of `LOST_MAX` stay."""
    untold = [*lost_now, *stream.undeclared, *chain.from_iterable(stream.declaring.values())]
    first_untold = min(gap.first for gap in untold)
    excess = len(gaps) - LOST_MAX // 2
    return [gap for gap in gaps[:excess] if gap.last >= first_untold] + gaps[excess:]


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


def left_to_declare(chunk: Chunk, gaps: list[Gap]) -> list[Gap]:
    """Return the gaps that a stream has to declare once a chunk of it is given up.

    Those that records in the chunk declared are among them, unless other chunks declare them too.
    Each is declared together with those that it continues. If each kept a record of its own, an
    outage would add one with each chunk, until the buffer held nothing else.

    Args:
        chunk: Which.
        gaps: Its own numbers.
    """
    stream = chunk.stream
    others = (told for chunk_id, told in stream.declaring.items() if chunk_id != chunk.id)
    declared = [*chain.from_iterable(others)]
    numbers = merge_ranges([(gap.first, gap.last) for gap in declared])
    all_gaps = merge_gaps(declared, [*stream.undeclared, *gaps, *chunk.gaps])
    return [gap for gap in all_gaps if subtract_ranges([(gap.first, gap.last)], numbers)]

"""Counts records that will not be delivered, and tells what is to be declared of them.

Each function computes what a change stores.
"""

from itertools import chain
from typing import NamedTuple

from logship._buffer.changes import Change
from logship._buffer.chunk import Chunk
from logship._buffer.counters import Counters
from logship._buffer.ranges import (
    Gap,
    contains,
    has_outgrown,
    merge_gaps,
    merge_ranges,
    renamed_gaps,
)
from logship._buffer.stream import Stream
from logship._reasons import OVERFLOW, SPILLED

LOST_MAX = 1000
"""So many gaps of a stream are kept for the report. If there are more, the oldest gaps whose
declaration the sidecar has acked are forgotten: a program may be overloaded for weeks."""


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
        gaps: Their numbers, those of control records among them; at least one gap.
        reason: Why.
        records: How many of them the application logged.
    """
    gaps_now = _to_report(stream, merge_gaps(stream.lost, gaps), gaps[0])
    is_spilled = reason == SPILLED
    total = (counters.spilled if is_spilled else counters.dropped[reason]) + records

    def count() -> None:
        stream.lost = gaps_now
        if is_spilled:
            counters.spilled = total
        else:
            counters.dropped[reason] = total

    return count


def _to_report(stream: Stream, gaps: list[Gap], lost_now: Gap) -> list[Gap]:
    """Return what to keep for the report of the gaps that a stream has now; see `LOST_MAX`.

    Args:
        stream: Whose.
        gaps: The stream's gaps.
        lost_now: The first of those that nothing declares yet.
    """
    if not has_outgrown(LOST_MAX, len(stream.lost), len(gaps)):
        return gaps
    untold = [lost_now, *stream.undeclared, *chain.from_iterable(stream.declaring.values())]
    first_untold = min(gap.first for gap in untold)
    excess = len(gaps) - LOST_MAX // 2
    return [gap for gap in gaps[:excess] if gap.last >= first_untold] + gaps[excess:]


def spilled_after_all(counters: Counters, numbered: Numbered) -> Change:
    """Count a dropped record as spilled: it reached stderr after all."""
    stream, number = numbered.stream, numbered.number
    renamed = renamed_gaps(stream.lost, number, SPILLED)
    lost_now = _to_report(stream, renamed, Gap(number, number, SPILLED))
    undeclared = renamed_gaps(stream.undeclared, number, SPILLED)
    dropped, spilled = counters.dropped[OVERFLOW] - 1, counters.spilled + 1

    def count() -> None:
        stream.lost, stream.undeclared = lost_now, undeclared
        counters.dropped[OVERFLOW] = dropped
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
    return [gap for gap in all_gaps if not contains(numbers, gap.first, gap.last)]

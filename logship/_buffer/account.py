"""What became of every record, read from the accumulator inside the critical section."""

from __future__ import annotations

from collections import Counter, defaultdict
from itertools import chain

from logship._buffer.accumulator import Accumulator
from logship._buffer.chunk import Chunk
from logship._buffer.counters import Account, DrainReport, StreamReport
from logship._buffer.ranges import Gap, Ranges, merge_gaps, merge_ranges, subtract_ranges
from logship._buffer.section import Section
from logship._buffer.stream import Stream
from logship._reasons import MIXED, ON_PURPOSE, SPILLED

_UNTOLD = frozenset({*ON_PURPOSE, MIXED})
"""Reasons of gaps that are not, or not wholly, among the losses of a stream."""


def account_of(accumulator: Accumulator, unspooled: int) -> Account:
    """Return the numbers that metrics are made of; `unspooled` is that of `Buffer`."""
    waiting = accumulator.chunks.unsettled.values()
    return Account(
        accumulator.counters.now(),
        waiting=sum(chunk.records for chunk in waiting),
        spooled=sum(chunk.records for chunk in waiting if chunk.spooled),
        unspooled=unspooled,
        bytes_held=accumulator.chunks.bytes_held,
    )


def report_of(section: Section, reason: str, seconds: float) -> DrainReport:
    """Return what became of every record so far, notes that are not counted yet among it."""
    accumulator = section.accumulator
    waiting, streams = accumulator.chunks.in_order(), accumulator.streams
    counters = accumulator.counters
    ended = [each for each in streams.ended if each.unsettled or each.lost]  # the others are acked
    by_stream: defaultdict[Stream, list[Chunk]] = defaultdict(list)
    for chunk in waiting:
        by_stream[chunk.stream].append(chunk)
    noted = Counter(name for name, _, _ in section.notes)
    spilled = sum(chunk.spilled_records for chunk in waiting)
    spooled = sum(chunk.records - chunk.spilled_records for chunk in waiting if chunk.spooled)
    return DrainReport(
        reason=reason,
        seconds=seconds,
        accepted=counters.accepted,
        acked=counters.acked,
        spooled=spooled,
        spilled=counters.spilled + spilled,
        dropped=sum(counters.dropped.values()),
        unacked=sum(chunk.records for chunk in waiting) - spilled - spooled,
        refused=counters.refused + noted["refused"],
        refused_lines=counters.refused_lines + noted["refused_lines"],
        refused_unwritten=counters.refused_unwritten + noted["refused_unwritten"],
        refused_id=accumulator.refused_id,
        truncated=counters.truncated,
        streams=tuple(
            _stream_report(stream, by_stream[stream]) for stream in (*ended, *streams.open.values())
        ),
        withheld=counters.withheld,
    )


def _stream_report(stream: Stream, waiting: list[Chunk]) -> StreamReport:
    spilled = [(gap.first, gap.last) for gap in stream.lost if gap.reason == SPILLED]
    unacked: Ranges = []
    spooled: Ranges = []
    gaps = chain(stream.undeclared, *stream.declaring.values())
    untold = [gap for gap in gaps if gap.reason in _UNTOLD]
    lost = merge_ranges([(gap.first, gap.last) for gap in stream.lost])
    for chunk in waiting:
        chunk_spilled, chunk_unacked = chunk.split_ranges()
        spilled.extend(chunk_spilled)
        (spooled if chunk.spooled else unacked).extend(chunk_unacked)
    kept_back = [
        Gap(first, last, gap.reason)
        for gap in untold
        for first, last in subtract_ranges([(gap.first, gap.last)], lost)
    ]
    dropped = [gap for gap in stream.lost if gap.reason != SPILLED]
    return StreamReport(
        stream=stream.id,
        tag=stream.tag,
        last=stream.next_number - 1,
        end=stream.end,
        accepted=stream.accepted,
        refused=stream.refused,
        spilled=merge_ranges(spilled),
        dropped=[(*gap,) for gap in merge_gaps(dropped, kept_back)],
        unacked=merge_ranges(unacked),
        spooled=merge_ranges(spooled),
    )

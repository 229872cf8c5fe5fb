"""A chunk taken apart: each half with its own part of the entries, numbers and counts.

Only for a chunk that a server does not take, which is rare: so everything is decoded and counted
anew here, and the emit path carries nothing that would make this cheaper.
"""

from __future__ import annotations

import msgpack

from logship._buffer.chunk import Chunk, ChunkState
from logship._buffer.ranges import Gap, holes_between
from logship._protocol.entries import GAP_KEY, is_control, unpack_entries


def fill_halves(whole: Chunk, left: Chunk, right: Chunk) -> None:
    """Put the first half of `whole`'s entries into `left` and the others into `right`."""
    numbers = [n for first, last in whole.ranges() for n in range(first, last + 1)]
    payload = bytes(whole.data)
    middle = len(numbers) // 2
    offset = _end_of_entry(payload, middle)
    _fill(left, payload[:offset], numbers[:middle], whole.spilled_entries)
    _fill(right, payload[offset:], numbers[middle:], max(0, whole.spilled_entries - middle))


def _end_of_entry(payload: bytes, count: int) -> int:
    """Return where the first `count` entries end."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(payload)
    for _ in range(count):
        unpacker.skip()
    return int(unpacker.tell())


def _fill(half: Chunk, payload: bytes, numbers: list[int], spilled_entries: int) -> None:
    declared = [_gap_of(record) for _, record in unpack_entries(payload)]
    half.write(payload)
    records = sum(gap is None for gap in declared)
    half.advance(len(payload), len(numbers))
    half.controls = half.entries - (0 if half.adopted else records)
    half.first = numbers[0]
    half.holes = holes_between(numbers)
    half.gaps = [gap for gap in declared if isinstance(gap, Gap)]
    half.spilled_entries = min(spilled_entries, half.entries)
    half.spilled_records = sum(gap is None for gap in declared[: half.spilled_entries])
    half.state = ChunkState.TAKEN


def _gap_of(record: dict[str, object]) -> Gap | bool | None:
    """Return the gap that a control record declares, True for another one of ours, else None."""
    gap = record.get(GAP_KEY)
    if isinstance(gap, list):
        return Gap(*gap)
    return True if is_control(record) else None

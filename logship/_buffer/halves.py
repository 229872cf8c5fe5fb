"""A chunk taken apart: each half with its own part of the entries, numbers and counts.

Only for a chunk that a server does not take, which is rare: so everything is decoded and counted
anew here, and the emit path carries nothing that would make this cheaper.
"""

from __future__ import annotations

from collections.abc import Callable

import msgpack

from logship._buffer.chunk import Chunk, ChunkState, HalfChunk
from logship._buffer.ranges import gap_in, holes_between
from logship._protocol.entries import is_control, unpack_entries


def halves_of(chunk: Chunk, new_id: Callable[[], str]) -> tuple[Chunk, Chunk]:
    """Return the first half of a chunk's entries and the others, each as a chunk that is taken."""
    numbers = [n for first, last in chunk.ranges() for n in range(first, last + 1)]
    middle, spilled = len(numbers) // 2, chunk.spilled_entries
    offset = _end_of_entry(chunk, middle)
    begin = chunk.begin if isinstance(chunk, HalfChunk) else 0
    left = HalfChunk(chunk.whole, new_id(), begin)
    right = HalfChunk(chunk.whole, new_id(), begin + offset)
    _fill(left, offset, numbers[:middle], spilled)
    _fill(right, chunk.size - offset, numbers[middle:], max(0, spilled - middle))
    return left, right


def _end_of_entry(chunk: Chunk, count: int) -> int:
    """Return where the first `count` entries end."""
    unpacker = msgpack.Unpacker(max_buffer_size=0)
    unpacker.feed(chunk.data)
    for _ in range(count):
        unpacker.skip()
    return int(unpacker.tell())


def _fill(half: HalfChunk, size: int, numbers: list[int], spilled_entries: int) -> None:
    half.advance(size, len(numbers))
    records = [record for _, record in unpack_entries(half.data)]
    are_logged = [not is_control(record) for record in records]
    half.controls = half.entries - (0 if half.adopted else sum(are_logged))
    half.first = numbers[0]
    half.holes = holes_between(numbers)
    half.gaps = [gap for gap in map(gap_in, records) if gap is not None]
    half.spilled_entries = min(spilled_entries, half.entries)
    half.spilled_records = sum(are_logged[: half.spilled_entries])
    half.state = ChunkState.TAKEN

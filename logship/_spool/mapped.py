"""Mapped files of the spool: segments, the chunks in them, and the numbers of streams.

What happens here is stores into memory that outlives the process, in the order that
`docs/spool-format.md` asks for. Files are made and removed elsewhere.
"""

from __future__ import annotations

import contextlib
import mmap
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from logship._buffer.chunk import Chunk, ChunkState, MemoryChunk
from logship._buffer.stream import Stream
from logship._spool import format as layout

SLACK_BYTES = 16 * 1024
SLACK_BYTES_MIN = 4 * 1024
"""What is left to an open chunk when another tag begins behind it: at first, and at least."""

_ONE_ENTRY = 1 << 32
"""In a commit word, the entries are counted above the bytes."""

_CHECKSUM_WORD_AT = layout.SLOT_CHECKSUM_AT & ~7
"""The word of a slot that its checksum is a half of: one store each time, never a torn checksum."""

_POPULATE_WRITE = 23  # MADV_POPULATE_WRITE (madvise(2), Linux 5.14), not in the module mmap


class Mapping(Protocol):
    """The bytes of a mapped file."""

    def __setitem__(self, where: slice, data: bytes, /) -> None: ...

    def __getitem__(self, where: slice) -> bytes: ...


class Words(Protocol):
    """The same bytes as aligned words of 64 bits, each of which is stored whole."""

    def __setitem__(self, index: int, word: int) -> None: ...

    def __getitem__(self, index: int) -> int: ...


def map_file(descriptor: int, size: int) -> tuple[Mapping, Words]:
    """Map a file, its pages faulted in for writing where the kernel can do that.

    Before Python 3.13 a mapping keeps a descriptor, which a program with a full spool may miss.
    """
    if sys.version_info >= (3, 13):
        mapping = mmap.mmap(descriptor, size, trackfd=False)
    else:
        mapping = mmap.mmap(descriptor, size)
    with contextlib.suppress(OSError):
        mapping.madvise(_POPULATE_WRITE)
    return mapping, memoryview(mapping).cast("Q")


def private_memory(size: int) -> tuple[Mapping, Words]:
    """Return memory that takes the place of a mapped file, and that no other process has."""
    mapping = mmap.mmap(-1, size, mmap.MAP_PRIVATE)
    return mapping, memoryview(mapping).cast("Q")


@dataclass(slots=True, eq=False)
class Segment:
    """A mapped file that chunks lie in.

    Attributes:
        name: Of the file.
        size: Its bytes.
        mapping, words: Its bytes.
        generation: Which use of the segment this is.
        tail: The last chunk; None where no chunk is live.
        live: Chunks that are neither acked nor dropped. A segment without any is free, and shows
            none: of an old chunk whose stream has lost its slot, a recoverer could not tell that
            the stream has ended.
    """

    name: str
    size: int
    mapping: Mapping
    words: Words
    generation: int = 1
    tail: SpoolChunk | None = None
    live: set[SpoolChunk] = field(default_factory=set)

    def next_header_at(self) -> int:
        """Return where another chunk would begin."""
        tail = self.tail
        if tail is None:
            return layout.SEGMENT_HEADER_BYTES
        is_open = tail.state is ChunkState.OPEN
        return layout.aligned(tail.payload_at + (tail.cut_capacity() if is_open else tail.size))

    def room(self) -> int:
        """Return how many bytes another chunk could have, its header included."""
        return self.size - self.next_header_at()

    def begin_anew(self) -> None:
        """Forget everything in it; nothing of it is live. May be called again."""
        generation = self.generation + 1
        self.words[layout.GENERATION_AT >> 3] = generation
        self.generation = generation
        self.tail = None

    def leave_file(self) -> None:
        """Have whatever is stored here from now on stay in this process."""
        self.mapping, self.words = private_memory(self.size)


class SpoolChunk(Chunk):
    """A chunk in a segment.

    Attributes:
        segment: Where.
        header_at: From where in it.
        payload_at: Where its entries begin.
        slack: How much it may still grow when another chunk begins behind it.
        before: The chunk before it in the segment, if there is one.
    """

    __slots__ = (
        "_commit_index",
        "before",
        "header_at",
        "payload_at",
        "segment",
        "slack",
    )

    def __init__(
        self, stream: Stream, serial: int, chunk_id: str, segment: Segment, header_bytes: int
    ) -> None:
        super().__init__(stream, serial, chunk_id)
        self.segment = segment
        self.header_at = segment.next_header_at()
        self.payload_at = self.header_at + header_bytes
        self.before = segment.tail
        self.slack = SLACK_BYTES
        self._commit_index = (self.header_at + layout.COMMIT_AT) >> 3

    @property
    def spooled(self) -> bool:
        """Whether it outlives the process: its file is there, and it is not settled."""
        return self in self.segment.live

    @property
    def data(self) -> bytes:
        """The committed entries; a copy, because the segment may be used again."""
        return self.segment.mapping[self.payload_at : self.payload_at + self.size]

    def cut_capacity(self) -> int:
        """Return the capacity that it keeps when another chunk begins behind it."""
        return min(self.capacity, self.size + self.slack)

    def write(self, data: bytes) -> None:
        """Put `data` behind the committed entries. It does not count until `advance`."""
        begin = self.payload_at + self.size
        end = begin + len(data)
        self.segment.mapping[begin:end] = data

    def advance(self, size: int, entries: int) -> None:
        """Commit what was written: from here on it outlives the process. May be called again."""
        self.segment.words[self._commit_index] = entries * _ONE_ENTRY + size
        self.size, self.entries = size, entries

    def link(self) -> None:
        """Link the chunk to the one before, whose capacity ends here. May be called again."""
        segment, before = self.segment, self.before
        if before is None:
            segment.words[layout.GENERATION_AT >> 3] = segment.generation
            segment.words[layout.BEGUN_AT >> 3] = segment.generation
        else:
            if before.state is ChunkState.OPEN:
                before.capacity = before.cut_capacity()
            segment.words[(before.header_at + layout.EXTENT_AT) >> 3] = self.header_at
        segment.live.add(self)
        segment.tail = self

    def before_sending(self) -> None:
        """Store the payload's checksum, once."""
        index = (self.header_at + layout.STATE_AT) >> 3
        if self.spooled and self.segment.words[index] >> 32 == layout.UNSENT:
            self.segment.words[index] = layout.state_word(layout.SENT, zlib.crc32(self.data))

    def mark_acked(self) -> None:
        """Store that it is settled. May be called again, while it is live."""
        segment = self.segment
        segment.words[(self.header_at + layout.STATE_AT) >> 3] = layout.state_word(layout.ACKED, 0)
        if segment.live == {self}:
            segment.begin_anew()
        segment.live.discard(self)


class MemoryBudget:
    """What all chunks in memory together may take.

    Args:
        bytes_max: As named.

    Attributes:
        bytes_held: What they hold.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max: int = bytes_max
        self.bytes_held: int = 0

    @property
    def bytes_left(self) -> int:
        """How much they may still take."""
        return self.bytes_max - self.bytes_held


class UnspooledChunk(MemoryChunk):
    """A chunk in memory, for want of a place on the spool.

    Args:
        stream, serial, chunk_id: As of `Chunk`.
        note: Notes that all numbers of a stream below one were given out.
        budget: What all such chunks may take.
    """

    __slots__ = ("_budget", "_capacity_max", "_note")

    def __init__(
        self,
        stream: Stream,
        serial: int,
        chunk_id: str,
        note: Callable[[Stream, int], None],
        budget: MemoryBudget,
    ) -> None:
        self._note = note
        self._budget = budget
        super().__init__(stream, serial, chunk_id, bytearray())

    @property
    def capacity(self) -> int:
        """As of `Chunk`, as far as there is memory left; none is set aside for it."""
        return min(self._capacity_max, self.size + self._budget.bytes_left)

    @capacity.setter
    def capacity(self, capacity: int) -> None:
        self._capacity_max = capacity

    def advance(self, size: int, entries: int) -> None:
        """Commit what was written; that its numbers were given out is noted on the spool.

        But not those of control records alone: a recoverer writes its own, with these numbers. They
        are noted once a chunk behind them is on the spool.
        """
        self._budget.bytes_held += size - self.size
        super().advance(size, entries)
        if self.records:
            self._note(self.stream, self.last + 1)


class StreamsFile:
    """The file `streams`: the highest number of each stream, mapped.

    Args:
        owner: The sixteen bytes of the process directory.
        mapping, words: The file, which has its header.
    """

    def __init__(self, owner: bytes, mapping: Mapping, words: Words) -> None:
        self._owner = owner
        self._mapping = mapping
        self._words = words
        self._slots: dict[Stream, int] = {}

    def leave_file(self) -> None:
        """See `Segment.leave_file`."""
        self._mapping, self._words = private_memory(layout.STREAMS_BYTES)

    def add(self, stream: Stream, tag: bytes) -> None:
        """Give the stream a slot, if it has none and there is one."""
        if stream not in self._slots:
            self._put(stream, tag)

    def rename(self, stream: Stream, tag: bytes) -> None:
        """Give the stream, if it has a slot, another one with this tag; then free the old one.

        A reader that finds both, because the process died in between, takes the final one. May be
        called again.
        """
        old = self._slots.get(stream)
        if old is None or len(tag) > layout.TAG_BYTES_MAX:
            return
        at = layout.slot_at(old)
        is_renamed = not layout.is_provisional_slot(self._mapping[at : at + layout.SLOT_BYTES])
        if not is_renamed and self._put(stream, tag):
            self._words[(at + _CHECKSUM_WORD_AT) >> 3] = 0

    def _put(self, stream: Stream, tag: bytes) -> bool:
        """Write a slot for the stream; tell whether there was a free one."""
        slot = self._free_slot()
        if slot is None:
            return False
        packed = layout.pack_slot(
            stream.id,
            tag,
            stream.next_number,
            self._owner,
            is_provisional=stream.is_provisional,
            opened=self._opened(stream),
        )
        at, behind = layout.slot_at(slot), _CHECKSUM_WORD_AT + 8
        index = (at + _CHECKSUM_WORD_AT) >> 3
        self._words[index] = 0
        self._mapping[at : at + _CHECKSUM_WORD_AT] = packed[:_CHECKSUM_WORD_AT]
        self._mapping[at + behind : at + layout.SLOT_BYTES] = packed[behind:]
        self._words[index] = int.from_bytes(packed[_CHECKSUM_WORD_AT:behind], sys.byteorder)
        self._slots[stream] = slot
        return True

    def note(self, stream: Stream, next_number: int) -> None:
        """Note that all numbers below `next_number` were given out."""
        index = self._index(stream, layout.SLOT_NEXT_AT)
        if index is not None:
            self._words[index] = max(self._words[index], next_number)

    def note_opened(self, stream: Stream, first: int) -> None:
        """Note that a chunk that begins with this number is on the spool; it is the newest."""
        index = self._index(stream, layout.SLOT_OPENED_AT)
        if index is not None:
            self._words[index] = first

    def note_settled(self, stream: Stream, first: int, next_number: int) -> None:
        """Note that a chunk will be forgotten, and that its stream has ended, if it has.

        Args:
            stream: The chunk's.
            first: The number that the chunk begins with.
            next_number: As of `note`.
        """
        self.note(stream, next_number)
        if first == self._opened(stream):
            self.note_opened(stream, 0)
        index = self._index(stream, layout.SLOT_END_AT)
        if index is not None and stream.end is not None and stream.end < next_number:
            self._words[index] = stream.end

    def leave_ends(self) -> None:
        """Leave the end of each stream to a recoverer, which may have written it already."""
        for stream in self._slots:
            stream.leave_end()

    def _opened(self, stream: Stream) -> int:
        index = self._index(stream, layout.SLOT_OPENED_AT)
        return 0 if index is None else self._words[index]

    def _index(self, stream: Stream, at: int) -> int | None:
        """Return the index of a word of the stream's slot; None if it has no slot."""
        slot = self._slots.get(stream)
        return None if slot is None else (layout.slot_at(slot) + at) >> 3

    def _free_slot(self) -> int | None:
        free = set(range(layout.SLOTS)).difference(self._slots.values())
        if free:
            return min(free)
        for stream in self._slots:
            if stream.end is not None and not stream.unsettled:
                return self._slots.pop(stream)
        return None

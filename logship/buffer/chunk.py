"""Chunks: sealed runs of entries of one stream, the unit that is sent, acked and resent.

The seam between the buffer and where bytes lie is here: the buffer talks to `Chunk`, and a
`Storage` makes and frees them. Memory storage keeps a chunk in a bytearray, or in a block of pages
where its stream fills one after the other; a crash-safe storage keeps it in a mapped file. All
promise the same: what was appended and not committed can be cut off again, so that an asynchronous
exception in the middle of an append leaves no torn entry.
"""

from __future__ import annotations

import contextlib
import mmap
from base64 import b64encode
from collections.abc import Callable, Iterator
from enum import Enum, auto
from typing import TYPE_CHECKING, Protocol, TypeGuard

if TYPE_CHECKING:
    from logship.buffer.stream import Gap, Stream

Ranges = list[tuple[int, int]]
"""Numbers of records as inclusive (first, last) pairs, ascending."""


SPARE_BLOCKS_MAX = 8
"""Blocks that are kept for the chunks to come, as many as a full window frees: to have the kernel
make their pages anew costs a quarter of what a record costs."""


_ROOM_BYTES_MIN = 4096
"""Where an open chunk has less room than that left, it is given more."""

_BLOCK_BYTES_MIN = 64 << 10
"""Who had a chunk of so many bytes is given a block for the next one: to make room for several
times as much takes as long as hundreds of records, in the call that opens the chunk."""


class Memory(Protocol):
    """A piece of memory that entries are put into."""

    def __setitem__(self, where: slice, data: bytes, /) -> None:
        """Copy `data` there."""


class Mapping(Memory, Protocol):
    """The bytes of a mapped file."""

    def __getitem__(self, where: slice) -> bytes:
        """Return a copy."""


class Words(Protocol):
    """The same bytes as aligned words of 64 bits."""

    def __setitem__(self, index: int, word: int) -> None:
        """Store a word, whole."""

    def __getitem__(self, index: int) -> int:
        """Return it."""


ONE_ENTRY = 1 << 32
"""In a commit word, the entries are counted above the bytes."""


class ChunkState(Enum):
    """Where a chunk is on its way."""

    OPEN = auto()
    SEALED = auto()
    TAKEN = auto()  # delivery has it: it is in the in-flight window or waits to be resent
    SETTLED = auto()  # acked, or dropped


class Chunk:
    """A run of entries of one stream; where its bytes are is for the kinds of it to say.

    Attributes:
        id: Base64 of 128 random bits; the same over every resend.
        serial: The order in which chunks were opened, from 1, over all streams.
        capacity: It is sealed rather than grow beyond so many bytes.
        size: Bytes of entries that are committed.
        entries: Committed entries, the control records among them.
        records: Committed entries that the application logged.
        first, last: Numbers of the first and the last entry.
        holes: Numbers between `first` and `last` that are not in this chunk.
        gaps: What the gap records in this chunk declare.
        opened_seconds: When it was opened, on the monotonic clock.
        spilled_entries: How many entries, from the first, were also written to stderr.
        spilled_records: How many of those the application logged.
        halves: What it was taken apart into, once it was.
        has_lane: Whether records may take a lane into it at all.
        lane_bytes_max: Up to this size records may take the lane into it (see `Buffer.offer`).
        lane_size: How much of it its buffer has counted, while it has a lane.
        lane_number, lane_suffix, lane_digits: How its entries end (see `Stream.thousand`).
        turn: Of whoever was the last one to write behind the committed entries, or was about to.
        mapping, payload_at: Where the entries lie; at 0 for a chunk in memory.
        words, commit_index: Where a lane commits to a segment (see `docs/spool-format.md`);
            `words` is None for a chunk in memory.
        adopted: Whether it is of another process, which is dead; none of our own account.
    """

    __slots__ = (
        "capacity",
        "entries",
        "first",
        "gaps",
        "halves",
        "holes",
        "id",
        "lane_bytes_max",
        "lane_digits",
        "lane_number",
        "lane_size",
        "lane_suffix",
        "last",
        "opened_seconds",
        "records",
        "serial",
        "size",
        "spilled_entries",
        "spilled_records",
        "state",
        "stream",
        "turn",
    )

    has_lane = True
    words: Words | None = None
    mapping: Memory
    payload_at: int = 0
    commit_index: int = 0
    adopted = False

    def __init__(self, stream: Stream, serial: int, chunk_id: str, opened_seconds: float) -> None:
        self.stream = stream
        self.serial = serial
        self.id = chunk_id
        self.opened_seconds = opened_seconds
        self.capacity = 0
        self.lane_bytes_max = 0
        self.lane_size = 0
        self.lane_number = 0
        self.lane_suffix = b""
        self.lane_digits: tuple[bytes, ...] = ()
        self.turn: object = None
        self.size = 0
        self.entries = 0
        self.records = 0
        self.first = self.last = stream.next_number
        self.holes: Ranges = []
        self.gaps: list[Gap] = []
        self.state = ChunkState.OPEN
        self.spilled_entries = 0
        self.spilled_records = 0
        self.halves: tuple[Chunk, Chunk] | None = None

    def __repr__(self) -> str:
        """Return the chunk's identity and state; tests and debuggers read it."""
        numbers = f"{self.first}-{self.last}"
        return f"<Chunk {self.serial} {self.stream.tag} {numbers} {self.state.name}>"

    @property
    def spooled(self) -> bool:
        """Whether it outlives the process."""
        return False

    @property
    def outermost(self) -> Chunk:
        """The chunk that this one is a half of, at whatever remove; else itself."""
        return self

    @property
    def is_settled(self) -> bool:
        """Whether it is acked or dropped; its memory is freed then, and may be used again."""
        return self.state is ChunkState.SETTLED

    @property
    def is_done(self) -> bool:
        """Whether it is settled, and where it has been split, so are its halves, and theirs."""
        if self.halves is None:
            return self.is_settled
        left, right = self.halves
        return left.is_done and right.is_done

    @property
    def data(self) -> bytes | bytearray | memoryview:
        """The committed entries, packed, one behind the other."""
        raise NotImplementedError

    def reserve(self, size_max: int, size_likely: int) -> int:
        """Have memory for entries to come; return up to which size there is now.

        Args:
            size_max: More is not wanted.
            size_likely: The chunk may well become so large.
        """
        del size_likely
        return size_max

    def sealed(self) -> None:
        """Keep no more memory than the entries take: there will be no more of them."""

    def append(self, body: bytes, suffix: bytes) -> None:
        """Append an entry that does not count until `size` and `entries` are advanced."""
        raise NotImplementedError

    def cut_uncommitted(self) -> None:
        """Cut off what was appended and not committed."""
        raise NotImplementedError

    def before_sending(self) -> None:
        """Do what must be done before the chunk first leaves; on the shipper's thread."""

    def ranges(self) -> Ranges:
        """Return the numbers of this chunk's entries."""
        if not self.entries:
            return []
        return subtract_ranges([(self.first, self.last)], self.holes)

    def split_ranges(self) -> tuple[Ranges, Ranges]:
        """Return the numbers of the entries that were spilled, and of those that were not."""
        left = self.spilled_entries
        spilled: Ranges = []
        rest: Ranges = []
        for first, last in self.ranges():
            here = min(left, last - first + 1)
            left -= here
            if here:
                spilled.append((first, first + here - 1))
            if first + here <= last:
                rest.append((first + here, last))
        return spilled, rest


class MemoryChunk(Chunk):
    """A chunk in the process's memory.

    Attributes:
        mapping: The packed entries, also those that are not committed yet, and room for more: a
            bytearray, which grows when something is put behind its end, or a block as large as the
            chunk may get.
    """

    __slots__ = ("mapping",)

    mapping: bytearray | mmap.mmap

    def __init__(self, stream: Stream, serial: int, chunk_id: str, opened_seconds: float) -> None:
        super().__init__(stream, serial, chunk_id, opened_seconds)
        self.mapping = bytearray()

    @property
    def data(self) -> bytearray | memoryview:
        """The committed entries; whoever keeps this keeps the memory, and nobody else writes it."""
        mapping = self.mapping
        if isinstance(mapping, bytearray) and len(mapping) == self.size:
            return mapping
        return memoryview(mapping)[: self.size]

    def reserve(self, size_max: int, size_likely: int) -> int:
        """Have memory for entries to come; return up to which size there is now."""
        memory = self.mapping
        if isinstance(memory, bytearray) and len(memory) - self.size < _ROOM_BYTES_MIN:
            wanted = max(size_likely, 2 * self.size, self.size + _ROOM_BYTES_MIN)
            # Where there is none, or somebody looks at what there is: then the longer way.
            with contextlib.suppress(MemoryError, BufferError):
                memory.extend(bytes(max(0, min(wanted, size_max) - len(memory))))
        return min(size_max, len(memory))

    def sealed(self) -> None:
        """Keep no more memory than the entries take: there will be no more of them."""
        if isinstance(self.mapping, bytearray) and len(self.mapping) > self.size:
            with contextlib.suppress(MemoryError):  # then it keeps what it has
                self.mapping = self.mapping[: self.size]

    def append(self, body: bytes, suffix: bytes) -> None:
        """Append an entry that does not count until `size` and `entries` are advanced."""
        entry = body + suffix
        self.mapping[self.size : self.size + len(entry)] = entry

    def cut_uncommitted(self) -> None:
        """Nothing to do: what is beyond `size` is no entry, and the next one is put over it."""


class HalfChunk(MemoryChunk):
    """A half of a chunk that a server does not take; a spooled whole stays until both are settled.

    Attributes:
        whole: That chunk, which may be a half itself.
    """

    __slots__ = ("whole",)

    def __init__(self, whole: Chunk, chunk_id: str) -> None:
        super().__init__(whole.stream, whole.serial, chunk_id, 0.0)
        self.whole = whole

    @property
    def adopted(self) -> bool:  # type: ignore[override]
        """Whether its whole is of another process."""
        return self.whole.adopted

    @property
    def spooled(self) -> bool:
        """Whether its whole outlives the process."""
        return self.whole.spooled

    @property
    def outermost(self) -> Chunk:
        """The chunk that was never a half."""
        return self.whole.outermost


class Storage(Protocol):
    """Where the bytes of chunks lie. Everything is called in the buffer's critical section."""

    def has_room(self, size: int) -> bool:
        """Tell whether an entry of `size` bytes finds a place."""

    def open_chunk(self, stream: Stream, serial: int, opened_seconds: float, size: int) -> Chunk:
        """Return an empty chunk for the next entries of `stream`, the first of `size` bytes."""

    def release(self, chunk: Chunk) -> None:
        """Free what `chunk` holds: it was acked, or dropped. May be called again."""

    def number_burned(self, stream: Stream, number: int) -> None:
        """Note that `number` was given out and will not be in any chunk."""

    def tag_known(self, stream: Stream) -> None:
        """Note the tag that a provisional one has given way to. May be called again."""

    def repair(self, unsettled: list[Chunk]) -> None:
        """Make true again what an exception interrupted; these are all chunks there are."""

    @property
    def unspooled(self) -> int:
        """Records taken in memory although there should be a spool."""


class MemoryStorage:
    """Chunks in the process's memory: the default, and gone with the process.

    Args:
        random_bytes: As `os.urandom`; 16 bytes of it make a chunk's id.
        chunk_bytes_max: A chunk's capacity.
    """

    unspooled = 0

    def __init__(self, random_bytes: Callable[[int], bytes], chunk_bytes_max: int) -> None:
        self._random_bytes = random_bytes
        self._chunk_bytes_max = chunk_bytes_max
        self._spare_blocks: list[mmap.mmap] = []

    def has_room(self, size: int) -> bool:
        """Say yes: the buffer's own bound is the only one."""
        del size
        return True

    def open_chunk(self, stream: Stream, serial: int, opened_seconds: float, size: int) -> Chunk:
        """Return an empty chunk for the next entries of `stream`."""
        chunk = MemoryChunk(stream, serial, new_chunk_id(self._random_bytes), opened_seconds)
        chunk.capacity = self._chunk_bytes_max
        is_large = stream.fills_chunks or stream.last_chunk_bytes >= _BLOCK_BYTES_MIN
        if is_large and size <= chunk.capacity:
            with contextlib.suppress(OSError):  # no more mappings: then as the others do
                chunk.mapping = self._block()
        return chunk

    def release(self, chunk: Chunk) -> None:
        """Free the chunk's memory, also while somebody still holds the chunk itself."""
        block = free_memory(chunk)
        if len(self._spare_blocks) < SPARE_BLOCKS_MAX and _is_unused(block):
            self._spare_blocks.append(block)

    def _block(self) -> mmap.mmap:
        """Return private memory for a whole chunk."""
        if self._spare_blocks:
            return self._spare_blocks.pop()
        return mmap.mmap(-1, self._chunk_bytes_max, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)

    def number_burned(self, stream: Stream, number: int) -> None:
        """Nothing to do: numbers die with the process."""

    def tag_known(self, stream: Stream) -> None:
        """Nothing to do: whoever sends a chunk asks its stream."""

    def repair(self, unsettled: list[Chunk]) -> None:
        """Nothing to do: every chunk has memory of its own."""


def new_chunk_id(random_bytes: Callable[[int], bytes]) -> str:
    """Return an id for a chunk: base64 of 128 random bits."""
    return b64encode(random_bytes(16)).decode("ascii")


def free_memory(chunk: Chunk) -> bytearray | mmap.mmap:
    """Take what a chunk in memory holds away from it, and return that."""
    memory: bytearray | mmap.mmap = bytearray()
    if isinstance(chunk, MemoryChunk):
        # A new object, never clear(): a transport may still hold a view of the old one.
        memory, chunk.mapping = chunk.mapping, memory
    return memory


def _is_unused(memory: bytearray | mmap.mmap) -> TypeGuard[mmap.mmap]:
    """Tell whether it is a block that nobody looks at any more: a transport may still send it."""
    try:
        if not isinstance(memory, mmap.mmap):
            return False
        memory.resize(len(memory))  # to the size that it has: refused while there is a view of it
    except (BufferError, OSError, SystemError):
        return False
    return True


def merge_ranges(ranges: Ranges) -> Ranges:
    """Return `ranges` in ascending order with neighbours and overlaps made one."""
    merged: Ranges = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged


def subtract_ranges(ranges: Ranges, holes: Ranges) -> Ranges:
    """Return the numbers of `ranges` that are not in `holes`; both ascending, not overlapping."""
    return [piece for each in ranges for piece in _without(each, holes)]


def _without(whole: tuple[int, int], holes: Ranges) -> Iterator[tuple[int, int]]:
    first, last = whole
    for hole_first, hole_last in holes:
        if hole_last < first or hole_first > last:
            continue
        if first < hole_first:
            yield first, hole_first - 1
        first = hole_last + 1
    if first <= last:
        yield first, last

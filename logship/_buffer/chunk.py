"""Chunks: runs of entries of one stream; a sealed one is sent, acked and resent as a unit.

The seam between the buffer and the place of the bytes is here: the buffer talks to `Chunk`, and a
`Storage` makes and frees chunks. Memory storage keeps a chunk in a bytearray; a crash-safe storage
keeps it in a mapped file. Both promise the same: entries are written first and count only when
`advance` has said so. So an exception in the middle leaves no torn entry.
"""

from __future__ import annotations

import sys
from base64 import b64encode
from collections.abc import Callable
from enum import Enum, auto

import msgpack

from logship._buffer.ranges import Gap, Ranges, gap_in, holes_between, subtract_ranges
from logship._buffer.stream import Stream
from logship._protocol.entries import is_control, unpack_entries

SPARES_MAX = 8
"""Pieces of memory that are kept for the chunks to come, as many as a full window frees. To have
the kernel make their pages anew costs more than everything else that happens to a record."""

_SPARE_BYTES_MIN = 64 << 10


class ChunkState(Enum):
    """Where a chunk is on its way."""

    OPEN = auto()
    SEALED = auto()
    TAKEN = auto()  # delivery has it: it is in the in-flight window or waits to be resent
    SETTLED = auto()  # acked, dropped or split


class Chunk:
    """A run of entries of one stream; its kinds say where its bytes are.

    Halves and adopted chunks have no `write`: they are never open.

    Attributes:
        id: Base64 of 128 random bits; the same over every resend.
        serial: The order in which chunks were opened, from 1, over all streams.
        capacity: The bytes that it may hold; it is sealed before it grows beyond them.
        size: Bytes of entries that are committed.
        entries: Committed entries, the control records among them.
        controls: How many of them are not the application's: gap, end and high-water records.
        first: Number of the first entry.
        holes: Numbers from `first` on that were given out meanwhile and are not in this chunk.
        gaps: What the gap records in this chunk declare.
        opened_seconds: When it was opened, on the monotonic clock of this process: the age of its
            oldest entry, from its number on. A half has that of its whole, and an adopted chunk
            what its header says. In an outage a chunk may stay open for long, and its entries
            differ in age.
        spilled: How many entries, from the first, were also written to stderr, and how many of
            those the application logged: one store changes both.
        parts: How many chunks are left of it: itself, or what it was split into; 0 at its end.
        is_given_up: Whether a part of it, or itself, was given up.
        adopted: Whether it is of another process, which is dead; none of our own account.
    """

    __slots__ = (
        "capacity",
        "controls",
        "entries",
        "first",
        "gaps",
        "holes",
        "id",
        "is_given_up",
        "opened_seconds",
        "parts",
        "serial",
        "size",
        "spilled",
        "state",
        "stream",
    )

    adopted = False
    opened_seconds: float

    def __init__(self, stream: Stream, serial: int, chunk_id: str) -> None:
        self.stream: Stream = stream
        self.serial: int = serial
        self.id: str = chunk_id
        self.capacity: int = 0
        self.size: int = 0
        self.entries: int = 0
        self.controls: int = 0
        self.first: int = stream.next_number
        self.holes: Ranges = []
        self.gaps: list[Gap] = []
        self.state: ChunkState = ChunkState.OPEN
        self.spilled: tuple[int, int] = (0, 0)
        self.parts: int = 1
        self.is_given_up: bool = False

    def __repr__(self) -> str:
        """Return the chunk's identity and state; tests and debuggers read it."""
        numbers = f"{self.first}-{self.last}"
        return f"<Chunk {self.serial} {self.stream.tag} {numbers} {self.state.name}>"

    @property
    def records(self) -> int:
        """How many committed entries the application logged."""
        return self.entries - self.controls

    @property
    def spilled_entries(self) -> int:
        """How many of its entries, from the first, stderr has."""
        return self.spilled[0]

    @property
    def spilled_records(self) -> int:
        """How many of those the application logged."""
        return self.spilled[1]

    @property
    def own_records(self) -> int:
        """How many of them are part of this process's account: none of a dead process."""
        return 0 if self.adopted else self.records

    @property
    def last(self) -> int:
        """The highest number that is in the chunk, or among its holes."""
        return self.first + self.entries - 1 + sum(end - begin + 1 for begin, end in self.holes)

    @property
    def spooled(self) -> bool:
        """Whether it outlives the process."""
        return False

    @property
    def whole(self) -> Chunk:
        """The chunk that this one is a part of; else itself."""
        return self

    @property
    def is_settled(self) -> bool:
        """Whether it is acked, dropped or split."""
        return self.state is ChunkState.SETTLED

    @property
    def is_waiting(self) -> bool:
        """Whether delivery has yet to get it."""
        return self.state in (ChunkState.OPEN, ChunkState.SEALED)

    @property
    def may_be_dropped(self) -> bool:
        """Whether the buffer may give it up by itself: delivery does not have it.

        None of a stream in which no gap can be declared any more. And none of control records
        alone: gap records would be written again before the next entry. It holds for adopted chunks
        too.
        """
        return self.is_waiting and self.records > 0 and self.stream.can_declare

    @property
    def data(self) -> bytes | bytearray | memoryview:
        """The committed entries, packed, one behind the other."""
        raise NotImplementedError

    def write(self, data: bytes) -> None:
        """Put `data` behind the committed entries. It does not count until `advance`."""
        raise NotImplementedError

    def advance(self, size: int, entries: int) -> None:
        """Commit what was written: from here on the chunk holds so much. May be called again."""
        self.size, self.entries = size, entries

    def before_sending(self) -> None:
        """Do what must be done before the chunk first leaves; on the shipper's thread."""

    def before_giving_up(self, part: Chunk, reason: str) -> None:
        """Do what must be done before a part of it, or itself, is given up; on that thread."""

    def after_settling(self) -> None:
        """Do what must be done when it, or a part of it, is settled; on that thread."""

    def ranges(self) -> Ranges:
        """Return the numbers of this chunk's entries."""
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
        memory: The packed entries, and behind them bytes that do not count.
    """

    __slots__ = ("memory",)

    def __init__(self, stream: Stream, serial: int, chunk_id: str, memory: bytearray) -> None:
        super().__init__(stream, serial, chunk_id)
        self.memory = memory

    @property
    def data(self) -> bytearray | memoryview:
        """The committed entries. While there is a view of them, the memory is not used again."""
        memory = self.memory
        return memory if len(memory) == self.size else memoryview(memory)[: self.size]

    def write(self, data: bytes) -> None:
        """Put `data` behind the committed entries. It does not count until `advance`."""
        self.memory[self.size : self.size + len(data)] = data

    def free(self) -> bytearray:
        """Take the memory away from the chunk and return it. A transport may still view it."""
        memory, self.memory = self.memory, bytearray()
        return memory


class HalfChunk(Chunk):
    """A part of a chunk that a server does not take, which keeps the bytes until all parts end.

    Attributes:
        whole: That chunk; no part itself.
        begin: Where in its entries this part begins, in bytes.
    """

    __slots__ = ("begin", "whole")

    def __init__(self, whole: Chunk, chunk_id: str, begin: int) -> None:
        super().__init__(whole.stream, whole.serial, chunk_id)
        self.opened_seconds = whole.opened_seconds
        self.whole = whole  # type: ignore[misc]
        self.begin = begin

    @property
    def adopted(self) -> bool:  # type: ignore[override]
        """Whether its whole is of another process."""
        return self.whole.adopted

    @property
    def spooled(self) -> bool:
        """Whether its whole outlives the process."""
        return self.whole.spooled

    @property
    def data(self) -> memoryview:
        """The entries, packed, one behind the other."""
        return memoryview(self.whole.data)[self.begin : self.begin + self.size]


class Storage:
    """Where the bytes of chunks lie. Everything is called in the buffer's critical section.

    Attributes:
        outlives_process: Whether a record must be here before the call that logs it returns.
        small_bytes: An entry of at most so many bytes, stamp included, is small.
        has_place: Whether a small entry finds a place now, whatever its tag. False where that is
            not known.
    """

    outlives_process: bool = False
    small_bytes: int = sys.maxsize
    has_place: bool = True

    def has_room(self, size: int) -> bool:
        """Tell whether an entry of `size` bytes finds a place beside the buffer's own bound."""
        del size
        return True

    def keeps(self, size: int) -> bool:
        """Tell whether it finds one that is not in memory for want of another."""
        return self.has_room(size)

    def look(self) -> None:
        """See whether streams can go on as they are, before a chunk is opened for an entry."""

    def open_chunk(self, stream: Stream, serial: int, size: int) -> Chunk:
        """Prepare an empty chunk for the next entries of `stream`, the first of `size` bytes."""
        raise NotImplementedError

    def link(self, chunk: Chunk) -> None:
        """Make a prepared chunk the storage's own. May be called again."""

    def release(self, chunk: Chunk) -> None:
        """Free what `chunk` holds: it was acked, or dropped. May be called again."""
        raise NotImplementedError

    def note_given(self, stream: Stream, next_number: int) -> None:
        """Note that all numbers below this one were given out. May be called again."""

    def tag_known(self, stream: Stream) -> None:
        """Note the tag that a provisional one has given way to. May be called again."""

    @property
    def unspooled(self) -> int:
        """Records taken in memory although there should be a spool."""
        return 0


class MemoryStorage(Storage):
    """Chunks in the process's memory: the default, and gone with the process.

    Args:
        random_bytes: As `os.urandom`; 16 bytes of it make a chunk's id.
        chunk_bytes_max: A chunk's capacity.
    """

    def __init__(self, random_bytes: Callable[[int], bytes], chunk_bytes_max: int) -> None:
        self._random_bytes = random_bytes
        self._chunk_bytes_max = chunk_bytes_max
        self._spare: list[bytearray] = []

    def open_chunk(self, stream: Stream, serial: int, size: int) -> Chunk:
        """Return an empty chunk for the next entries of `stream`."""
        memory = self._spare.pop() if self._spare else bytearray()
        chunk = MemoryChunk(stream, serial, new_chunk_id(self._random_bytes), memory)
        chunk.capacity = max(size, self._chunk_bytes_max)
        return chunk

    def release(self, chunk: Chunk) -> None:
        """Free the chunk's memory, also while something still holds the chunk itself."""
        assert isinstance(chunk, MemoryChunk)
        memory = chunk.free()
        is_large = len(memory) >= _SPARE_BYTES_MIN
        if is_large and len(self._spare) < SPARES_MAX and not _is_viewed(memory):
            self._spare.append(memory)


def new_chunk_id(random_bytes: Callable[[int], bytes]) -> str:
    """Return an id for a chunk: base64 of 128 random bits."""
    return b64encode(random_bytes(16)).decode()


def _is_viewed(memory: bytearray) -> bool:
    """Tell whether something still looks at it: it cannot be made longer then."""
    try:
        memory.append(0)
    except BufferError:
        return True
    memory.pop()
    return False


def halves_of(chunk: Chunk, new_id: Callable[[], str]) -> tuple[Chunk, Chunk]:
    """Return the first half of a chunk's entries and the others, each as a chunk that is taken.

    Only for a chunk that a server does not take, which is rare: so everything is decoded and
    counted anew here, and the emit path carries nothing that would make this cheaper.
    """
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
    half.controls = half.entries - sum(are_logged)
    half.first = numbers[0]
    half.holes = holes_between(numbers)
    half.gaps = [gap for gap in map(gap_in, records) if gap is not None]
    spilled_entries = min(spilled_entries, half.entries)
    half.spilled = spilled_entries, sum(are_logged[:spilled_entries])
    half.state = ChunkState.TAKEN

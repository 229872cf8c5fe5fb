"""The chunks of a buffer, from the moment each is opened until nothing of it is left.

| state | where | what comes next |
|---|---|---|
| `OPEN` | `open`, `unsettled` | `seal`, when it is full or due; or `settle`, when it is given up |
| `SEALED` | `unsettled` | `take`, when delivery has room; or `settle`, when it is given up |
| `TAKEN` | `unsettled`; sent or not, delivery has it | `settle`, at an ack or a loss; or `split` |
| `SETTLED` | nowhere | its bytes are freed; of one that was split, when all its parts end |

Everything here is called inside the buffer's critical section. Each method ends in one store or one
change (see `changes`), or, as `seal_all`, in one for each chunk.
"""

from __future__ import annotations

from collections.abc import Callable

from logship._buffer.changes import Changes
from logship._buffer.chunk import Chunk, ChunkState, Storage, halves_of, new_chunk_id
from logship._buffer.inbox import Tag
from logship._buffer.stream import Stream
from logship._buffer.wakeups import Waiters

ADOPTED_TAKEN_MAX = 2
"""How many adopted chunks are taken at a time while own ones wait, which must find room."""


class Chunks:
    """Chunks by state.

    Args:
        storage: Where they lie.
        changes: The commits.
        random_bytes: As `os.urandom`, for the ids of halves.

    Attributes:
        storage: As given.
        opened_count: How many so far.
        open: The open chunk of each stream that has one, by the stream's key, in the order of
            opening.
        unsettled: Every chunk that is neither acked nor dropped, by id, open ones too; in the order
            of opening. Halves have their whole's place.
        wholly_spilled: Chunks that are wholly on stderr, by id.
        adopted: Chunks of dead processes that are not settled, by id; they are in no other list.
        bytes_held: Bytes of committed entries that wait.
        has_news: Whether a chunk was sealed since this was last cleared.
        waiters: Calls that wait for space.
    """

    def __init__(
        self, storage: Storage, changes: Changes, random_bytes: Callable[[int], bytes]
    ) -> None:
        self.storage = storage
        self.opened_count = 0
        self.open: dict[Tag, Chunk] = {}
        self.unsettled: dict[str, Chunk] = {}
        self.wholly_spilled: dict[str, Chunk] = {}
        self.adopted: dict[str, Chunk] = {}
        self.bytes_held = 0
        self.has_news = False
        self.waiters: Waiters = Waiters()
        self._changes = changes
        self._random_bytes = random_bytes

    def begin(self, stream: Stream, opened_seconds: float, size: int) -> Chunk:
        """Open a chunk for the next entries of a stream that has no open one.

        Args:
            stream: Which.
            opened_seconds: The time on the monotonic clock.
            size: Bytes of the first entry.
        """
        serial = self.opened_count + 1
        opened = self.storage.open_chunk(stream, serial, size)
        opened.opened_seconds = opened_seconds
        unsettled = stream.unsettled + 1

        def change() -> None:
            self.storage.link(opened)
            self.opened_count = serial
            self.unsettled[opened.id] = opened
            self.open[stream.key] = opened
            stream.unsettled = unsettled

        self._changes.commit(change)
        return opened

    def adopt(self, chunk: Chunk) -> None:
        """Ship a sealed chunk of a dead process too; its stream is not of our account."""
        self._changes.commit(self.adopted.__setitem__, chunk.id, chunk)

    def next_adopted(self) -> Chunk | None:
        """Return the adopted chunk to take next.

        Where no own chunks wait, as many are taken as the window has room for: what no server takes
        is taken and not on its way, and the next one is its only neighbour.
        """
        chunks = list(self.adopted.values())
        taken = sum(each.state is ChunkState.TAKEN for each in chunks)
        if self.unsettled and taken >= ADOPTED_TAKEN_MAX:
            return None
        for chunk in chunks:
            if chunk.state is ChunkState.SEALED:
                return chunk
        return None

    def seal(self, chunk: Chunk) -> None:
        """Let no more entries into an open chunk; one without entries is forgotten."""
        if not chunk.entries:
            self.settle(chunk)
            return

        def change() -> None:
            self.open.pop(chunk.stream.key, None)
            chunk.state = ChunkState.SEALED
            chunk.stream.sealed_bytes = chunk.size
            self.has_news = True

        self._changes.commit(change)

    def seal_all(self) -> int:
        """Seal every open chunk; return how many were opened so far."""
        for chunk in list(self.open.values()):
            self.seal(chunk)
        return self.opened_count

    def take(self, chunk: Chunk) -> None:
        """Hand a sealed chunk to delivery."""
        chunk.state = ChunkState.TAKEN

    def settle(
        self, chunk: Chunk, then: Callable[[], None] = lambda: None, halves: tuple[Chunk, ...] = ()
    ) -> None:
        """Forget a chunk, and tell the calls that wait for space what it frees.

        Every chunk ends here, whatever ends it: an ack, a reason to give it up, or a split.

        Args:
            chunk: Which.
            then: A part of the change: counts what became of its records.
            halves: What takes its place, if it was taken apart.
        """
        stream, whole, is_own = chunk.stream, chunk.whole, not chunk.adopted
        waiting = self.unsettled if is_own else self.adopted
        if halves:
            waiting = _in_place_of(chunk, halves, waiting)
        freed = chunk.size if is_own and not halves else 0
        held, more = self.bytes_held - freed, len(halves) - 1
        unsettled, parts = stream.unsettled + more, whole.parts + more

        def change() -> None:
            then()
            if self.open.get(stream.key) is chunk:
                del self.open[stream.key]
            chunk.state = ChunkState.SETTLED
            waiting.pop(chunk.id, None)
            if is_own:
                self.unsettled = waiting
            else:
                self.adopted = waiting
            stream.declaring.pop(chunk.id, None)
            stream.declaring.update({half.id: half.gaps for half in halves if half.gaps})
            stream.unsettled = unsettled
            self.bytes_held = held
            whole.parts = parts
            if is_own and not parts:  # what is left of an adopted one, its adoption frees
                self.storage.release(whole)
            elif is_own and not halves:  # a half: it may have been in memory alone
                self.storage.note_given(stream, chunk.last + 1)
            if freed > 0:
                self.waiters.are_due = True

        self._changes.commit(change)

    def split(self, chunk: Chunk) -> tuple[Chunk, Chunk] | None:
        """Replace a chunk that a server does not take by two halves with ids of their own.

        Returns:
            The halves, taken as the chunk was; None if it holds a single entry.
        """
        if chunk.entries < 2:
            return None
        halves = halves_of(chunk, lambda: new_chunk_id(self._random_bytes))
        self.settle(chunk, halves=halves)
        return halves

    def in_order(self) -> list[Chunk]:
        """Return all unsettled chunks, oldest first."""
        return list(self.unsettled.values())

    def first_droppable(self) -> Chunk | None:
        """Return the chunk that would leave next, of those that may be dropped.

        Where there is none, one of control records alone, which holds a place on the spool. Its
        gaps are declared again in the chunk of the next entry, so dropping comes to an end.
        """
        controls = None
        for chunk in self.unsettled.values():
            if chunk.may_be_dropped:
                return chunk
            if controls is None and chunk.is_waiting and chunk.stream.can_declare:
                controls = chunk
        return controls


def _in_place_of(
    chunk: Chunk, halves: tuple[Chunk, ...], waiting: dict[str, Chunk]
) -> dict[str, Chunk]:
    """Return chunks that wait with halves where the chunk was."""
    left: dict[str, Chunk] = {}
    for each in waiting.values():
        for part in halves if each is chunk else (each,):
            left[part.id] = part
    return left

"""The recovery of one orphan: its chunks are handed out, and what becomes of them is marked.

A buffer takes an `AdoptedChunk` beside its own, and a client ships it with its old id and stamps.
One step is a small piece of work, because the shipper's thread has living records to ship as well.
"""

from __future__ import annotations

import contextlib
from base64 import b64encode
from collections.abc import Callable, Generator, Iterator

from logship.buffer.chunk import Chunk, ChunkState
from logship.buffer.ranges import Gap, merge_ranges, subtract_ranges
from logship.buffer.stream import Stream
from logship.spool.chunks import FoundChunk, Payload, read_payload
from logship.spool.declarations import declaration, is_control
from logship.spool.directories import ProcessDirectory
from logship.spool.files import FileBytes
from logship.spool.marks import LocatedChunk, Marks, OrphanStream
from logship.spool.progress import RecoveryCounters, RecoveryState
from logship.spool.survey import DAMAGED_REASON, Survey, stream_of
from logship.spool.trouble import Kept, Trouble

REFUSED_REASON = "quarantined"
"""The word in gaps for recovered records that no server takes."""


class AdoptedChunk(Chunk):
    """A chunk of a dead process.

    It is not part of this process's account: `records` is 0.

    Attributes:
        data: Its payload.
        adoption: The recovery that must be told when the chunk is settled.
        found: The place on the spool; None for the control records that recovery writes.
        recovered_records: How many of its entries the application logged.
        ends: Whether its last entry is its stream's end record.
        refused: Numbers in it that no server takes.
    """

    __slots__ = ("adoption", "data", "ends", "found", "recovered_records", "refused")

    spooled = True
    adopted = True

    def __init__(
        self,
        adoption: Adoption,
        stream: Stream,
        chunk_id: str,
        payload: bytes,
        numbers: list[int],
        found: LocatedChunk | None,
    ) -> None:
        super().__init__(stream, 0, chunk_id, 0.0)
        self.data: bytes = payload
        self.size = len(payload)
        self.entries = len(numbers)
        self.first, self.last = numbers[0], numbers[-1]
        ranges = merge_ranges([(number, number) for number in numbers])
        self.holes = subtract_ranges([(self.first, self.last)], ranges)
        self.state = ChunkState.SEALED
        self.adoption = adoption
        self.found = found
        self.recovered_records = 0
        self.ends = found is None
        self.refused: list[int] = []

    def settled(self) -> None:
        """Note on the spool that the sidecar has it, or that no server takes it."""
        self.adoption.settled(self)


def settle(chunk: Chunk) -> None:
    """Note on the spool that an adopted chunk is settled, or both halves of one are."""
    whole = chunk.outermost
    if isinstance(whole, AdoptedChunk) and whole.is_done:
        whole.settled()


def refuse(chunk: Chunk) -> str:
    """Keep an adopted record that no server takes: in quarantine, or on the spool.

    Args:
        chunk: A chunk of this record alone, as `Delivery` found it.

    Returns:
        A line for a person.
    """
    whole = chunk.outermost
    assert isinstance(whole, AdoptedChunk)
    return whole.adoption.refuse(whole, chunk)


class Adoption:
    """The recovery of one process directory.

    Args:
        directory: The process directory, locked by us.
        counters: Counters of the whole recovery.
        random_bytes: As `os.urandom`, for ids of the chunks that recovery writes.
        time_ns: Nanoseconds since the epoch, for the records that recovery writes.
        say: Called with the text of what a person must be told.
        default_tag: Tag of a stream whose process never learned it, or None.

    Attributes:
        directory: The process directory.
        work: The steps of the recovery.
        is_removed: Whether nothing is left of the directory.
        trouble: What is bad in it.
    """

    def __init__(
        self,
        directory: ProcessDirectory,
        counters: RecoveryCounters,
        random_bytes: Callable[[int], bytes],
        time_ns: Callable[[], int],
        say: Callable[[str], object],
        default_tag: str | None,
    ) -> None:
        self.directory = directory
        self.work = self._steps()
        self.is_removed = False
        self.trouble = Trouble(directory, counters, say)
        self._counters = counters
        self._random_bytes = random_bytes
        self._time_ns = time_ns
        self._marks = Marks(directory, self.trouble)
        self._survey = Survey(directory, self.trouble, self._marks, counters, default_tag)
        self._pending = 0
        self._is_left = False
        self._refused: list[LocatedChunk] = []

    def leave(self) -> None:
        """Give up the lock, and close everything."""
        self._is_left = True
        with contextlib.suppress(ValueError):  # a forked child: the parent's thread was in it
            self.work.close()
        self._marks.close()
        self.directory.leave()

    @property
    def is_worth_a_retry(self) -> bool:
        """Whether what keeps the directory may be over after a while."""
        return self.trouble.wanted_bytes > 0 or self._is_untold

    @property
    def _is_untold(self) -> bool:
        return any(orphan.is_untold for orphan in self._streams.values())

    @property
    def is_settled(self) -> bool:
        """Whether no chunk that was handed out is on its way."""
        return not self._pending

    @property
    def _streams(self) -> dict[str, OrphanStream]:
        return self._survey.streams

    def settled(self, chunk: AdoptedChunk) -> None:
        """Mark a chunk acked on the spool, and unlink its file if it was the last one in it."""
        if self._is_left:
            return  # the recoverer that has the lock now ships it again
        self._pending -= 1
        try:
            self._mark_settled(chunk)
        except Exception as error:  # noqa: BLE001 - the living must not suffer for the dead
            self.trouble.fail(error)

    def _mark_settled(self, chunk: AdoptedChunk) -> None:
        orphan = self._streams[chunk.stream.id]
        if chunk.found is None:
            if not chunk.refused:
                self._marks.end(orphan, chunk.last)
            return
        file = chunk.found.file
        file.pending -= 1
        if chunk.refused:
            file.is_needed = True
            self._refused.append(chunk.found)
        else:
            self._counters.chunks_acked += 1
            self._counters.records_acked += chunk.recovered_records
            if self._note_what_it_shows(chunk, orphan):
                self._marks.acked(chunk.found)
        if self._survey.is_shown_by_chunks(orphan):
            file.is_needed = True
        self._marks.unlink_if_done(file)

    def _note_what_it_shows(self, chunk: AdoptedChunk, orphan: OrphanStream) -> bool:
        """Note what the next recoverer could not know, since it does not read acked chunks.

        Returns:
            Whether that is noted; else the chunk must go on showing it.
        """
        is_noted = self._marks.next_number(orphan, chunk.last + 1)
        return (not chunk.ends or self._marks.end(orphan, chunk.last)) and is_noted

    def refuse(self, whole: AdoptedChunk, chunk: Chunk) -> str:
        """Keep a record that no server takes, and note its number as a gap.

        A control record is not given up. Gaps and ends are declared with it: if it became a gap
        itself, no reader could tell what it said. The directory stays, and recovery says it again.
        """
        try:
            return self._keep_refused(whole, chunk)
        except Exception as error:  # noqa: BLE001 - the living must not suffer for the dead
            self.trouble.fail(error)
            return f"a record recovered from {self.directory.name} stays on the spool: {error}"

    def _keep_refused(self, whole: AdoptedChunk, chunk: Chunk) -> str:
        number, orphan = chunk.first, self._streams[whole.stream.id]
        stamp = f"{orphan.stream.id}:{number:010d}"
        self._counters.quarantined += 1
        whole.refused.append(number)
        text = f"the sidecar does not take record {stamp}, recovered from {self.directory.name}"
        self._counters.note(text)
        if whole.found is None or is_control(bytes(chunk.data)):
            orphan.is_untold = True
            return f"{text}; it declares gaps or the end, and is sent again later"
        orphan.gaps.append(Gap(number, number, REFUSED_REASON))
        name = f"{orphan.stream.id}-{number:010d}.entry"
        kept = self.trouble.keep(name, bytes(chunk.data))
        return f"{text}; it {kept.value}"

    # -- the steps -------------------------------------------------------------------------------

    def _steps(self) -> Generator[AdoptedChunk | RecoveryState, None, None]:
        # What a step names is told before the next one: no step changes the spool on account of
        # what it has named itself. A recoverer that dies in between leaves it to be named again.
        if not self._survey.read_streams():
            return
        yield RecoveryState.WORKING
        segments = self.directory.segments()
        for name in segments:
            yield from self._survey.read_segment(name)
        self._survey.finish(segments)
        yield RecoveryState.WORKING
        for located in self._survey.chunks:
            yield from self._adopt(located)
        yield from self._wait_for_acks()
        if not self.trouble.is_kept:
            yield from self._end_streams()
        if not self.trouble.is_kept:
            self._mark_declared()
            self._free_unused_slots()
            if not self._is_untold:
                self._remove()

    def _wait_for_acks(self) -> Generator[RecoveryState, None, None]:
        while self._pending:
            yield RecoveryState.AWAITING_ACKS

    def _adopt(self, located: LocatedChunk) -> Iterator[AdoptedChunk | RecoveryState]:
        """Yield the chunk for shipping, or keep it in quarantine if it is damaged."""
        file, chunk = located
        data = self.directory.contents(file.name, file.descriptor)
        try:
            payload_bytes = data.read(chunk.payload_at, chunk.payload_end)
            data.raise_if_unreadable()
        except OSError as error:
            self.trouble.leave_unread(file.name, chunk.offset, error, _of(chunk, chunk.entries))
            yield RecoveryState.WORKING
            return
        payload = read_payload(chunk, payload_bytes)
        if not isinstance(payload, Payload):
            yield from self._quarantine(located, data, payload)
            return
        yield from self._name_missing(chunk, payload)
        orphan = self._streams[chunk.identity.stream]
        orphan.ended = orphan.ended or payload.end is not None
        orphan.next_number = max(orphan.next_number, payload.numbers[-1] + 1)
        adopted = AdoptedChunk(
            self,
            _routed(orphan.stream, chunk),
            chunk.identity.id,
            payload_bytes,
            payload.numbers,
            located,
        )
        adopted.recovered_records = payload.records
        adopted.ends = payload.end is not None
        self._pending += 1
        self._counters.chunks += 1
        self._counters.records += payload.records
        yield adopted

    def _name_missing(self, chunk: FoundChunk, payload: Payload) -> Iterator[RecoveryState]:
        """Name the numbers before this chunk that were never acked, and are in no chunk.

        What is damaged or cannot be read may be what is missing, and is named already.
        """
        orphan = self._streams[chunk.identity.stream]
        expected, first = orphan.expected_next, payload.numbers[0]
        orphan.expected_next = max(expected, payload.numbers[-1] + 1)
        if orphan.slot is None or self.trouble.is_damaged or self.trouble.is_unread:
            return
        declared = merge_ranges([(gap.first, gap.last) for gap in orphan.gaps])
        missing = subtract_ranges([(expected, first - 1)], declared) if expected < first else []
        for begin, end in missing:
            self.trouble.miss_segment(orphan.stream.id, f"numbers {begin} to {end}")
        if missing:
            yield RecoveryState.WORKING

    def _quarantine(
        self, located: LocatedChunk, data: FileBytes, reason: str
    ) -> Iterator[RecoveryState]:
        """Name a damaged chunk, then keep its bytes, then mark it; each in a step of its own."""
        file, chunk = located
        identity = chunk.identity
        last = self._survey.last_lost_with(located)
        text = f"a chunk is damaged ({_of(chunk, last - identity.first + 1)}): {reason}"
        self.trouble.blame(file.name, chunk.offset, text)
        yield RecoveryState.WORKING
        if self.trouble.is_unread:
            return  # what follows it, and so what is lost with it, cannot be told
        name = f"{self.directory.name}-{file.name}-{chunk.offset}.chunk"
        kept = self.trouble.keep_part(name, data, chunk.offset, min(chunk.payload_end, len(data)))
        yield RecoveryState.WORKING
        if kept is Kept.ON_THE_SPOOL:
            return  # the next recoverer tries again
        gap = Gap(identity.first, last, DAMAGED_REASON)
        self._survey.note_lost(file, self._streams[identity.stream], gap)
        file.pending -= 1
        self._marks.quarantined(located, last)

    # -- the end ---------------------------------------------------------------------------------

    def _end_streams(self) -> Iterator[AdoptedChunk | RecoveryState]:
        for orphan in list(self._streams.values()):
            self._learn_stamp(orphan)
            chunk = self._last_words(orphan)
            if chunk is not None:
                yield chunk
        yield from self._wait_for_acks()

    def _learn_stamp(self, orphan: OrphanStream) -> None:
        """Take the key of the stamps from chunks, where it could not be read beside the slots."""
        key = self._survey.stamp_key
        if not orphan.stream.has_stamps and key is not None:
            tag = orphan.stream.tag.encode("utf-8")
            orphan.stream = stream_of(orphan.stream.id, tag, key) or orphan.stream

    def _last_words(self, orphan: OrphanStream) -> AdoptedChunk | None:
        """Return the chunk that declares a stream's gaps and ends it, if it has not ended."""
        if orphan.ended or orphan.is_untold or not orphan.stream.has_stamps:
            return None
        declared = declaration(orphan.stream, orphan.next_number, orphan.gaps, self._time_ns)
        if declared is None:
            return None
        self._pending += 1
        chunk_id = b64encode(self._random_bytes(16)).decode("ascii")
        return AdoptedChunk(self, orphan.stream, chunk_id, *declared, None)

    def _mark_declared(self) -> None:
        """Mark what no server takes: if something stays, no recoverer must try it again."""
        for located in self._refused:
            if not self._streams[located.chunk.identity.stream].is_untold:
                self._marks.acked(located)

    def _free_unused_slots(self) -> None:
        """Free the slots of streams without records: where the removal stops, none is missed."""
        for orphan in self._streams.values():
            if orphan.next_number == 1:
                self._marks.free_slot(orphan)

    def _remove(self) -> None:
        try:
            self.directory.remove()
            self.is_removed = True
        except OSError as error:
            self.trouble.say(f"everything is shipped, it cannot be removed: {error}")


def _of(chunk: FoundChunk, count: int) -> str:
    """Return the stream and `count` numbers of a chunk, for a person."""
    first = chunk.identity.first
    return f"stream {chunk.identity.stream}, numbers {first} to {first + count - 1}"


def _routed(stream: Stream, chunk: FoundChunk) -> Stream:
    """Return the stream as this chunk names its route, which is the same but for damage.

    A provisional tag names none: by now the stream has the final one, if any program knows it.
    """
    identity = chunk.identity
    if identity.is_provisional or stream.tag.encode("utf-8") == identity.tag:
        return stream
    return stream_of(stream.id, identity.tag, identity.stamp_key) or stream

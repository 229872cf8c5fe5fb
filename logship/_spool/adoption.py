"""The recovery of one orphan: its chunks are handed out, and what becomes of them is marked.

A buffer takes an `AdoptedChunk` beside its own, and a client ships it with its old id and stamps.
One step is a small piece of work, because the shipper's thread has living records to ship as well.

Nothing is stored when a chunk is sent. These are all the ways in which one ends:

| what ends it | what is stored, in this order | where |
|---|---|---|
| the server has acked it | its stream's slot, then its mark `ACKED`; its segment may go | `end` |
| no server takes a record of it | a copy; it stays until its directory goes | `quarantine` |
| no server takes a control record | nothing, and the directory stays | `quarantine` |
| it is given up for another reason | nothing; it stays until its directory goes | - |
| it is damaged | a copy of it, its stream's slot, its mark `QUARANTINED` | `_keep_damaged` |
| it cannot be read, or not copied | nothing, and the directory stays | `Orphan.is_kept` |
| it was recovery's own, and is acked | its stream's slot, if it has the end | `end` |

`Buffer.release` and `Buffer.give_up` call `end` and `quarantine` for a chunk that was handed out; a
caller does nothing else. What has no mark is read and sent again by the next recoverer. The
directory goes when all chunks have ended and all gaps and ends are acked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

from logship._buffer.chunk import Chunk, ChunkState, new_chunk_id
from logship._buffer.ranges import (
    Gap,
    Ranges,
    gap_record,
    holes_between,
    merge_ranges,
    subtract_ranges,
)
from logship._buffer.stream import NUMBER_MAX
from logship._hooks.interruptions import is_interruption
from logship._protocol.entries import END_KEY, is_control, pack_control, unpack_entries
from logship._reasons import QUARANTINED
from logship._spool import format as layout
from logship._spool.chunks import FoundChunk, Payload, read_payload
from logship._spool.directories import ProcessDirectory
from logship._spool.files import FileBytes
from logship._spool.orphan import Kept, LocatedChunk, Orphan, OrphanStream
from logship._spool.progress import Recovery, RecoveryState
from logship._spool.survey import survey

_CONTROLS_MAX = 1000
"""How many gap and end records a chunk of recovery's own has at most."""

Steps = Generator["AdoptedChunk | RecoveryState", None, None]


class AdoptedChunk(Chunk):
    """A chunk of a dead process.

    Attributes:
        data: Its payload.
        end: The number of its stream's end record, if that is in it.
        adoption: The recovery that is told when the chunk is settled or given up.
        located: Its place on the spool; None for the control records that recovery writes.
    """

    __slots__ = ("adoption", "data", "end", "located")

    stream: OrphanStream
    spooled = True
    adopted = True

    def __init__(
        self,
        adoption: Adoption,
        stream: OrphanStream,
        data: bytes,
        payload: Payload,
        located: LocatedChunk | None = None,
    ) -> None:
        recovery = adoption.recovery
        if located is None:
            super().__init__(stream, 0, new_chunk_id(recovery.random_bytes))
            self.opened_seconds = recovery.monotonic()
        else:
            identity = located.chunk.identity
            super().__init__(stream, 0, identity.id)
            self.opened_seconds = recovery.seconds_of(identity.opened_ns)
        numbers = payload.numbers
        self.data: bytes = data
        self.size: int = len(data)
        self.entries: int = len(numbers)
        self.controls: int = self.entries - payload.records
        self.first: int = numbers[0]
        self.holes: Ranges = holes_between(numbers)
        self.gaps: list[Gap] = [*payload.gaps]
        self.state = ChunkState.SEALED
        self.end: int | None = payload.end
        self.adoption: Adoption = adoption
        self.located: LocatedChunk | None = located

    def before_giving_up(self, part: Chunk, reason: str) -> None:
        """Keep a part of it, or itself, in quarantine, where no server takes it."""
        if reason == QUARANTINED:
            self.adoption.quarantine(self, part)

    def after_settling(self) -> None:
        """Have it marked, if nothing of it is left."""
        if not self.parts:
            self.adoption.end(self)


class Adoption(Orphan):
    """An orphan, and its recovery.

    Args:
        directory, recovery: As of `Orphan`.

    Attributes:
        begun_seconds: When the directory was locked, monotonic.
        work: The steps of the recovery.
        is_over: Whether the lock was given up.
        is_removed: Whether nothing is left of the directory.
        is_waiting: Whether the next step comes after acks.
        on_their_way: How many chunks were handed out and are not settled.
        records_acked: The application's records in chunks that were acked.
    """

    def __init__(self, directory: ProcessDirectory, recovery: Recovery) -> None:
        super().__init__(directory, recovery)
        self.begun_seconds: float = recovery.monotonic()
        self.work: Steps = self._steps()
        self.is_over: bool = False
        self.is_removed: bool = False
        self.is_waiting: bool = False
        self.on_their_way: int = 0
        self.records_acked: int = 0

    def leave(self) -> None:
        """Give up the lock, and close everything."""
        self.is_over = True
        with contextlib.suppress(ValueError):  # a forked child: the parent's thread was in it
            self.work.close()
        self.directory.leave()

    # -- how a chunk that was handed out ends ----------------------------------------------------

    def end(self, chunk: AdoptedChunk) -> None:
        """End a chunk that is settled: note what it has shown, mark it, and let its segment go.

        If the lock was given up meanwhile, the recoverer that has it now ships the chunk again.
        """
        if self.is_over:
            return
        self.on_their_way -= 1
        self.is_waiting = self.is_waiting and self.on_their_way > 0
        located, stream = chunk.located, chunk.stream
        is_told_again = located is None and chunk.end is None
        if chunk.is_given_up or is_told_again:
            return
        stream.note_acked(chunk, chunk.end)
        self.records_acked += chunk.records
        self.counters.records_acked += chunk.records
        self.counters.chunks_acked += located is not None
        try:
            is_stored = self.store_slot(stream)
            if located is None:
                return
            if is_stored:
                self.mark(located, layout.ACKED)
            if not stream.shown_by_chunks:
                self.holds[located.segment] -= 1
                self.unlink_if_done(located.segment)
        except Exception as error:  # recovery must not stop this client's own shipping
            self.fail(error)
            if is_interruption(error):
                raise

    def quarantine(self, whole: AdoptedChunk, part: Chunk) -> None:
        """Keep a record that no server takes; that its numbers are gaps is noted elsewhere.

        An end record, and gap records alone, are not given up: if they became a gap, no reader
        could tell what they said. The directory stays, and recovery sends them again.

        Args:
            whole: The chunk that was handed out. It is not marked, whatever becomes of its rest.
            part: The part of it that is given up, or itself.
        """
        if self.is_over:
            return
        stream, data = whole.stream, bytes(part.data)
        stamp = f"{stream.id}:{part.first:010d}"
        text = f"the sidecar does not take record {stamp}, recovered from {self.name}"
        try:
            self.counters.quarantined += 1
            self.counters.note(text)
            records = [record for _, record in unpack_entries(data)]
            if all(map(is_control, records)) or any(END_KEY in record for record in records):
                stream.is_untold = self.is_worth_a_retry = True
                outcome = "it declares gaps or the end, and is sent again later"
            else:
                kept = self.keep(f"{stream.id}-{part.first:010d}.entry", data)
                outcome = f"it {kept.value}"
            told = f"{text}; {outcome}"
        except Exception as error:  # recovery must not stop this client's own shipping
            self.fail(error)
            if is_interruption(error):
                raise
            told = f"a record recovered from {self.name} stays on the spool: {error}"
        self.recovery.warn("quarantine", told)

    # -- the steps -------------------------------------------------------------------------------

    def _steps(self) -> Steps:
        # What a step names is told before the next one: no step changes the spool on account of
        # what it has named itself. A recoverer that dies in between leaves it to be named again.
        yield from survey(self)
        ids, copies = set(), []
        for located in self.chunks:
            if located.chunk.identity.id in ids:  # its file is there twice
                copies.append(located)
                continue
            ids.add(located.chunk.identity.id)
            yield from self._adopt(located)
        yield from self._wait_for_acks()
        for located in copies:  # an ack does not tell which of two chunks it is for
            yield from self._adopt(located)
            yield from self._wait_for_acks()
        if not self.is_kept:
            yield from self._end_streams()
        if not self.is_kept and not any(each.is_untold for each in self.streams.values()):
            self._remove()

    def _wait_for_acks(self) -> Iterator[RecoveryState]:
        self.is_waiting = self.on_their_way > 0
        if self.is_waiting:
            yield RecoveryState.AWAITING_ACKS

    def _adopt(self, located: LocatedChunk) -> Steps:
        """Yield the chunk for shipping, or keep it in quarantine if it is damaged."""
        segment, chunk, _ = located
        try:
            with self.directory.opened(segment) as descriptor:
                found = FileBytes(descriptor, chunk.offset, chunk.payload_end)
            found.raise_if_unreadable()
        except OSError as error:
            self.leave_unread(segment, chunk.offset, error, _of(chunk, chunk.entries))
            yield RecoveryState.WORKING
            return
        data = found.data[chunk.header_bytes :]
        payload = read_payload(chunk, data)
        if not isinstance(payload, Payload):
            yield from self._keep_damaged(located, found.data, payload)
            return
        stream = self.streams[chunk.identity.stream]
        if self._name_missing(stream, payload.numbers):
            yield RecoveryState.WORKING
        stream.note_given(payload.numbers[-1])
        self.counters.chunks += 1
        self.counters.records += payload.records
        self.on_their_way += 1
        yield AdoptedChunk(self, stream, data, payload, located)

    def _name_missing(self, stream: OrphanStream, numbers: list[int]) -> bool:
        """Name the numbers before this chunk's that were never acked, and are in no chunk.

        What is damaged or cannot be read may be what is missing, and is named already. Without
        stamps a chunk does not show which numbers were dropped while it was open.

        Returns:
            Whether there are any.
        """
        expected, first = stream.expected_next, numbers[0]
        stream.expected_next = max(expected, numbers[-1] + 1)
        is_known = stream.slot is not None and stream.has_stamps
        if not is_known or self.is_damaged or first <= expected:
            return False
        declared = merge_ranges([(gap.first, gap.last) for gap in stream.undeclared])
        missing = subtract_ranges([(expected, first - 1)], declared)
        for begin, end in missing:
            self.miss_segment(stream.id, f"numbers {begin} to {end}, never acked")
        return bool(missing)

    def _keep_damaged(self, located: LocatedChunk, data: bytes, reason: str) -> Steps:
        """Name a damaged chunk, then keep its bytes, then mark it; each in a step of its own."""
        segment, chunk, last = located
        first = chunk.identity.first
        text = f"a chunk is damaged ({_of(chunk, last - first + 1)}): {reason}"
        self.blame(segment, chunk.offset, text)
        yield RecoveryState.WORKING
        if self.is_kept:
            return  # perhaps what follows it, and so what is lost with it, cannot be told
        name = f"{self.name}-{segment}-{chunk.offset}.chunk"
        kept = self.keep(name, data.rstrip(b"\0"))
        yield RecoveryState.WORKING
        if kept is Kept.ON_THE_SPOOL:
            return  # the next recoverer tries again
        stream = self.streams[chunk.identity.stream]
        stream.note_damaged(first, last)
        if self.store_slot(stream):
            self.mark(located, layout.QUARANTINED, last - first)

    # -- the end ---------------------------------------------------------------------------------

    def _end_streams(self) -> Steps:
        for stream in list(self.streams.values()):
            for chunk in self._last_words(stream):
                self.on_their_way += 1
                yield chunk
                if chunk.end is None:  # a stream's end is told when its gaps are
                    yield from self._wait_for_acks()
                if stream.is_untold:
                    break
        yield from self._wait_for_acks()

    def _last_words(self, stream: OrphanStream) -> list[AdoptedChunk]:
        """Return the chunks that declare a stream's gaps and end it, also where it had ended.

        None where there is nothing to tell or nothing can be told, and where there are too few
        numbers left.
        """
        is_told = stream.noted_end and not stream.undeclared
        if is_told or not stream.can_declare:
            return []
        records = [gap_record(each) for each in stream.undeclared]
        records.append({"message": "logship: stream closed", END_KEY: "recovered"})
        end = stream.next_number + len(records) - 1
        if end > NUMBER_MAX:
            return []
        stream.undeclared = []
        chunks = []
        for at in range(0, len(records), _CONTROLS_MAX):
            bodies = [
                pack_control(each, self.recovery.time_ns())
                for each in records[at : at + _CONTROLS_MAX]
            ]
            numbers = [stream.next_number + each for each in range(len(bodies))]
            data = stream.stamped(bodies)
            stream.note_given(numbers[-1])
            payload = Payload(numbers, 0, end if numbers[-1] == end else None)
            chunks.append(AdoptedChunk(self, stream, data, payload))
        return chunks

    def _remove(self) -> None:
        """Remove the directory: everything in it is told."""
        try:
            self.directory.remove()
            self.is_removed = True
        except OSError as error:
            self._keep_all(error, f"all its records are shipped, but it cannot be removed: {error}")


def _of(chunk: FoundChunk, count: int) -> str:
    """Return the stream and `count` numbers of a chunk, for a person."""
    first = chunk.identity.first
    return f"stream {chunk.identity.stream}, numbers {first} to {first + count - 1}"

"""Faults put into the product's spool on purpose, to show that the judge of disks would notice.

As in `mutations`: each is a function that changes the product through a `MonkeyPatch`, and its
docstring is what a person sees.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from logship._buffer.chunk import Chunk, ChunkState, MemoryChunk
from logship._buffer.chunks import ADOPTED_TAKEN_MAX
from logship._buffer.departure import Departure
from logship._buffer.stream import Stream
from logship._spool import files
from logship._spool.adoption import AdoptedChunk, Adoption
from logship._spool.chunks import FoundChunk, Payload, read_payload
from logship._spool.directories import STREAMS
from logship._spool.files import FileBytes
from logship._spool.format import (
    SENT,
    SLOT_CHECKSUM_AT,
    UNSENT,
    pack_slot,
    slot_at,
)
from logship._spool.mapped import MemoryBudget, Segment, StreamsFile, UnspooledChunk
from logship._spool.orphan import Kept, Orphan, OrphanStream
from logship._spool.orphans import Orphans
from logship._spool.own_directory import OwnDirectory
from logship._spool.progress import RecoveryState
from logship._spool.storage import SpoolStorage
from tests.simulation.mutations import Mutations

DISK_MUTATIONS = Mutations()
_mutation, _around = DISK_MUTATIONS.add, DISK_MUTATIONS.around


# -- writing ---------------------------------------------------------------------------------


@_around(Segment, "begin_anew", seed=226)
def generation_not_renewed(begin: Any, self: Segment) -> None:
    """A segment that is used again keeps its generation, and with it its old chunks."""
    if self.generation:
        self.tail = None
    else:
        begin(self)


@_mutation(seed=13)
def unspooled_not_counted(patch: pytest.MonkeyPatch) -> None:
    """Records that are held in memory for want of a disk are not counted."""
    patch.setattr(SpoolStorage, "unspooled", property(lambda _self: 0))


@_mutation(seed=13)
def memory_bound_not_kept(patch: pytest.MonkeyPatch) -> None:
    """While the disk fails, memory takes twice what it may."""
    left = property(lambda self: 2 * self.bytes_max - self.bytes_held)
    patch.setattr(MemoryBudget, "bytes_left", left)


@_mutation(seed=900)
def full_spool_takes_memory(patch: pytest.MonkeyPatch) -> None:
    """What a full spool has no place for goes into memory, as if its disk failed."""
    patch.setattr(SpoolStorage, "_takes_memory", property(lambda _self: True))


@_around(OwnDirectory, "allocate", seed=900)
def file_bound_not_kept(allocate: Any, self: OwnDirectory, *arguments: Any) -> Any:
    """Files may be twice as large as was said."""
    most = self._bytes_max
    self._bytes_max = 2 * most
    try:
        return allocate(self, *arguments)
    finally:
        self._bytes_max = most


# -- recovery --------------------------------------------------------------------------------


@_mutation(seed=126)
def damaged_chunk_skipped_in_silence(patch: pytest.MonkeyPatch) -> None:
    """A chunk that cannot be read is passed over without a word to anybody."""
    patch.setattr(Orphan, "blame", lambda _self, _name, _offset, _reason: None)


@_mutation(seed=217)
def damaged_chunk_not_declared(patch: pytest.MonkeyPatch) -> None:
    """What was lost with a damaged chunk is named, and its stream says nothing of it."""
    patch.setattr(OrphanStream, "note_damaged", lambda _self, _first, _last: None)


@_mutation(seed=862)
def damaged_chunk_shipped(patch: pytest.MonkeyPatch) -> None:
    """The checksum of a chunk is not looked at."""

    def read(chunk: FoundChunk, payload: bytes) -> Payload | str:
        was_sent = chunk.state == SENT
        return read_payload(chunk._replace(state=UNSENT) if was_sent else chunk, payload)

    patch.setattr("logship._spool.adoption.read_payload", read)


@_mutation(seed=13)
def orphan_deleted_before_ack(patch: pytest.MonkeyPatch) -> None:
    """A dead process's files go when they were sent, not when they were acked."""

    def wait(self: Adoption) -> Iterator[RecoveryState]:
        self.on_their_way = 0
        yield from ()

    patch.setattr(Adoption, "_wait_for_acks", wait)


@_mutation(seed=13)
def living_process_taken_for_dead(patch: pytest.MonkeyPatch) -> None:
    """A lock is not looked at."""
    patch.setattr("logship._spool.directories.fcntl.flock", lambda _descriptor, _operation: None)


# -- those that were found -------------------------------------------------------------------


@_mutation(seed=117)
def slots_checksum_torn(patch: pytest.MonkeyPatch) -> None:
    """A stream's slot gets its checksum byte by byte: killed there, it looks damaged."""

    def add(self: StreamsFile, stream: Stream, tag: bytes) -> None:
        slot = None if stream in self._slots else self._free_slot()
        if slot is None:
            return
        packed = pack_slot(stream.id, tag, stream.next_number, self._owner)
        checksum_at = slot_at(slot) + SLOT_CHECKSUM_AT
        self._mapping[slot_at(slot) : checksum_at] = packed[:SLOT_CHECKSUM_AT]
        rest = packed[SLOT_CHECKSUM_AT + 4 :]
        self._mapping[checksum_at + 4 : checksum_at + 4 + len(rest)] = rest
        checksum = packed[SLOT_CHECKSUM_AT : SLOT_CHECKSUM_AT + 4]
        self._mapping[checksum_at : checksum_at + 4] = checksum
        self._slots[stream] = slot

    patch.setattr(StreamsFile, "add", add)


@_mutation(seed=116)
def upkeep_after_the_end(patch: pytest.MonkeyPatch) -> None:
    """A client that was closed while its disk failed makes itself a new directory."""
    close: Callable[[SpoolStorage], None] = SpoolStorage.close

    def closed(self: SpoolStorage) -> None:
        close(self)
        self._is_over = False

    patch.setattr(SpoolStorage, "close", closed)


@_around(OrphanStream, "note_acked", seed=16941)
def gaps_end_with_the_stream(note: Any, self: OrphanStream, chunk: Chunk, end: int | None) -> None:
    """When a stream's own end record is acked, the gaps before it count as declared."""
    note(self, chunk, end)
    if end is not None:
        self.undeclared, self.noted_end = [], end


# -- of the file with the slots --------------------------------------------------------------


@_around(Orphan, "blame", seed=126)
def slots_damaged_in_silence(blame: Any, self: Orphan, name: str, offset: int, reason: str) -> None:
    """Damage to the file with the slots is not named: the chunks have everything."""
    if name != STREAMS:
        blame(self, name, offset, reason)


@_mutation(seed=126)
def key_not_learnt_from_chunks(patch: pytest.MonkeyPatch) -> None:
    """If the header of the slots is damaged, the stamp key of an end is unknown: none is told."""
    patch.setattr("logship._spool.survey._learn_stamps", lambda _orphan: None)


# -- where reads, stores and servers fail -------------------------------------------------------


@_mutation(seed=13)
def failed_read_taken_as_empty(patch: pytest.MonkeyPatch) -> None:
    """A segment that cannot be read is one without chunks."""

    def read(self: FileBytes, descriptor: int, start: int, stop: int) -> bytes:
        try:
            return files.pread_all(descriptor, stop - start, start)
        except OSError:
            return bytes(stop - start)

    patch.setattr(FileBytes, "_read", read)


# -- those that were found -------------------------------------------------------------------


@_around(Orphan, "keep", seed=305)
def marked_though_not_quarantined(keep: Any, self: Orphan, name: str, data: bytes) -> Kept:
    """A damaged chunk that could not be copied is marked as if it were: the next one deletes it."""
    found = keep(self, name, data)
    return Kept.NOWHERE if found is Kept.ON_THE_SPOOL else found


@_mutation(seed=13)
def one_unread_chunk_stops_its_life(patch: pytest.MonkeyPatch) -> None:
    """Whatever cannot be read ends the recovery of its life, and of all behind it in there."""

    def leave(_self: Orphan, _name: str, _offset: int, error: OSError, _what: str = "") -> None:
        raise error

    patch.setattr(Orphan, "leave_unread", leave)


@_mutation(seed=1716)
def one_poison_stops_all_lives(patch: pytest.MonkeyPatch) -> None:
    """A life whose last record no server takes is waited for, and no other one is begun."""
    patch.setattr("logship._spool.orphans._ADOPTIONS_MAX", 1)


@_mutation(seed=2967)
def poison_fills_the_window(patch: pytest.MonkeyPatch) -> None:
    """Two records that no server takes are all that may be on the way: nothing passes them."""

    def next_adopted(self: Departure) -> Chunk | None:
        chunks = self._section.chunks.adopted.values()
        taken = sum(each.state is ChunkState.TAKEN for each in chunks)
        if self._section.closing or taken >= ADOPTED_TAKEN_MAX:
            return None
        return next((each for each in chunks if each.state is ChunkState.SEALED), None)

    patch.setattr(Departure, "_next_adopted", next_adopted)


@_mutation(seed=1784)
def named_after_it_is_marked(patch: pytest.MonkeyPatch) -> None:
    """What is damaged is named when nothing is left to do for now: it may be marked, or gone."""
    step, tell = Orphans.step, Orphans.tell
    held: dict[Orphans, list[str]] = defaultdict(list)

    def stepped(self: Orphans) -> AdoptedChunk | RecoveryState:
        found = step(self)
        if found in (RecoveryState.AWAITING_ACKS, RecoveryState.AWAITING_ORPHANS):
            for text in held.pop(self, ()):
                tell(self, text)
        return found

    patch.setattr(Orphans, "step", stepped)
    patch.setattr(Orphans, "tell", lambda self, text: held[self].append(text))


# -- that show in one history of thousands ------------------------------------------------------


@_around(Adoption, "end", seed=5965)
def shipped_end_not_noted(end: Any, self: Adoption, chunk: AdoptedChunk) -> None:
    """A recoverer ships a stream's own end record, and leaves no word of it to the next one."""
    if chunk.located is not None:
        chunk.end = None
    end(self, chunk)


@_mutation(seed=3606)
def number_in_memory_not_noted(patch: pytest.MonkeyPatch) -> None:
    """Records are taken in memory, and their numbers are not noted on the spool."""
    patch.setattr(UnspooledChunk, "advance", MemoryChunk.advance)


@_mutation(seed=1027)
def acked_chunks_show_nothing(patch: pytest.MonkeyPatch) -> None:
    """A stream without a slot is forgotten with the segments of its acked chunks."""
    patch.setattr(OrphanStream, "shown_by_chunks", False)

"""What recovery writes back into a process directory: states of chunks, and slots of streams.

A mark is stored when an ack has come or a copy is kept, never before. Where it cannot be stored,
the next recoverer sends the chunk again, and the stamps show that.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from logship.buffer.ranges import Gap
from logship.buffer.stream import Stream
from logship.spool.chunks import FoundChunk
from logship.spool.directories import ProcessDirectory
from logship.spool.format import (
    ACKED,
    QUARANTINED,
    SLOT_CHECKSUM_AT,
    SLOT_END_AT,
    SLOT_NEXT_AT,
    STATE_AT,
    slot_at,
    state_word,
)
from logship.spool.slots import FoundStream
from logship.spool.trouble import Trouble

_WORD = struct.Struct("=Q")
_LOST_MAX = 0xFFFFFFFF


class SegmentFile:
    """A segment of an orphan.

    Attributes:
        name: Name of the file.
        descriptor: For reading and marking.
        pending: Chunks in it that are not settled.
        is_needed: Whether it must stay until the end of the recovery of its directory: something
            in it is in quarantine, and the gap that says so is not acked; or it holds a chunk that
            alone shows what its stream is.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.pending = 0
        self.is_needed = False


class LocatedChunk(NamedTuple):
    """A chunk, and the file that it lies in."""

    file: SegmentFile
    chunk: FoundChunk


class OrphanStream:
    """What is known of a stream of a dead process.

    Args:
        stream: Its tag, id and stamps.
        slot: Its slot in the file `streams`, or None.

    Attributes:
        stream: Its tag, id and stamps.
        slot: Index of its slot, or None.
        next_number: All numbers below were given out, as far as is known.
        noted_next: The same as its slot says; each number from there on that was given out must be
            on the spool. None without a slot.
        expected_next: The number that the next chunk begins with at the latest, unless a segment is
            missing.
        ended: Whether its end record was acked, or is on the spool.
        gaps: Numbers that will not arrive.
        is_untold: Whether no server took a record that declares one of its gaps, or its end.
    """

    def __init__(self, stream: Stream, slot: FoundStream | None) -> None:
        self.stream = stream
        self.slot = None if slot is None else slot.slot
        self.next_number = 1 if slot is None else slot.next_number
        self.noted_next = None if slot is None else slot.next_number
        self.expected_next = self.next_number
        self.ended = slot is not None and slot.end != 0
        self.gaps: list[Gap] = []
        self.is_untold = False


class Marks:
    """Stores marks in the files of one process directory, and unlinks segments that are done.

    Args:
        directory: The process directory, locked by us.
        trouble: What is bad in it.

    Attributes:
        files: The open segments.
        streams_descriptor: Of the file `streams`, or -1.
    """

    def __init__(self, directory: ProcessDirectory, trouble: Trouble) -> None:
        self.files: list[SegmentFile] = []
        self.streams_descriptor = -1
        self._directory = directory
        self._trouble = trouble

    def acked(self, located: LocatedChunk) -> None:
        """Mark a chunk as one that needs nothing more."""
        self._store_state(located, state_word(ACKED, 0))

    def quarantined(self, located: LocatedChunk, last: int) -> None:
        """Mark a chunk as damaged and copied; its numbers up to `last` are lost."""
        lost = min(last - located.chunk.identity.first, _LOST_MAX)
        self._store_state(located, state_word(QUARANTINED, lost))

    def next_number(self, stream: OrphanStream, number: int) -> bool:
        """Note that all numbers of a stream below `number` were given out; tell whether it is."""
        stream.noted_next = max(stream.noted_next or 1, number)
        return self._store_in_slot(stream, stream.noted_next, SLOT_NEXT_AT)

    def end(self, stream: OrphanStream, number: int) -> bool:
        """Note the number of a stream's end record, which was acked; tell whether it is."""
        stream.ended = True
        return self._store_in_slot(stream, number, SLOT_END_AT)

    def free_slot(self, stream: OrphanStream) -> None:
        """Have a stream's slot count no more."""
        if stream.slot is not None:
            at = slot_at(stream.slot) + (SLOT_CHECKSUM_AT & ~7)
            self._store(self.streams_descriptor, 0, at)

    def unlink_if_done(self, file: SegmentFile) -> None:
        """Unlink a segment of which nothing is needed any more."""
        if not file.pending and not file.is_needed and not self._trouble.is_kept:
            self._directory.unlink(file.name)
            self.files.remove(file)
            os.close(file.descriptor)

    def close(self) -> None:
        """Close all files."""
        for descriptor in [each.descriptor for each in self.files] + [self.streams_descriptor]:
            if descriptor >= 0:
                os.close(descriptor)
        self.files, self.streams_descriptor = [], -1

    def _store_state(self, located: LocatedChunk, word: int) -> bool:
        return self._store(located.file.descriptor, word, located.chunk.offset + STATE_AT)

    def _store_in_slot(self, stream: OrphanStream, number: int, at: int) -> bool:
        """Store a number of a stream; for one without a slot its chunks go on showing it."""
        if stream.slot is None:
            return not self._trouble.is_unread
        return self._store(self.streams_descriptor, number, slot_at(stream.slot) + at)

    def _store(self, descriptor: int, word: int, offset: int) -> bool:
        try:
            os.pwrite(descriptor, _WORD.pack(word), offset)
        except OSError as error:
            self._trouble.cannot_mark(error)
            return False
        return True

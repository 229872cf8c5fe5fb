"""One orphan: what is known of a dead process's streams and chunks, and the marks in its files.

What goes wrong while it is recovered is counted, named and kept.

A mark is stored when an ack has come or a copy is kept, never before. Where it cannot be stored,
the next recoverer sends the chunk again, and the stamps show that. `adoption` says which is stored
when.
"""

from __future__ import annotations

import errno
import os
import struct
from collections import Counter
from enum import Enum
from typing import NamedTuple

from logship._buffer.chunk import Chunk
from logship._buffer.ranges import Gap, merge_gaps
from logship._buffer.stream import Stream
from logship._hooks.interruptions import is_interruption
from logship._reasons import DAMAGED
from logship._spool import format as layout
from logship._spool.chunks import FoundChunk
from logship._spool.directories import STREAMS, ProcessDirectory
from logship._spool.progress import Recovery, RecoveryCounters
from logship._spool.quarantine import QuarantineFull
from logship._spool.slots import FoundStream

_WORD = struct.Struct("=Q")
_LOST_MAX = 0xFFFFFFFF

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
_NO_DESCRIPTOR = frozenset({errno.EMFILE, errno.ENFILE})


class Kept(Enum):
    """Where bytes are that should go to quarantine; the value says so of a record."""

    QUARANTINED = "is quarantined"
    ON_THE_SPOOL = "cannot be quarantined, and stays on the spool"
    NOWHERE = "is not kept"


class LocatedChunk(NamedTuple):
    """A chunk, the name of its segment, and the last number that is lost if it is damaged."""

    segment: str
    chunk: FoundChunk
    last: int


class OrphanStream(Stream):
    """A stream of a dead process, as far as its spool was read.

    `next_number` is one more than the highest number that is known. `end` is not used: gap records
    may follow the end record of a dead process's stream, and another end record behind them.

    Attributes:
        slot: Index of its slot in the file `streams`, or None.
        noted_next: All numbers below were given out, as its slot says; each number from there on
            that was given out must be on the spool.
        noted_end: The number of its last end record, as its slot says; 0 as long as that was not
            acked, or a gap before it was not declared.
        opened: The first number of its newest chunk, which must be on the spool; 0 for none.
        shown_by_chunks: Whether only chunks show how far it came, or how its records are stamped.
        expected_next: The number that the next chunk begins with at the latest, unless a segment is
            missing.
        is_untold: Whether no server took a record that declares one of its gaps, or its end.
        is_cut: Whether its newest chunk is missing, so that its last number is unknown.
    """

    slot: int | None = None
    noted_next: int = 1
    noted_end: int = 0
    opened: int = 0
    shown_by_chunks: bool = True
    expected_next: int = 1
    is_untold: bool = False
    is_cut: bool = False

    def begin_with(self, found: FoundStream, *, shown_by_chunks: bool) -> None:
        """Begin with what its slot says."""
        self.slot, self.opened, self.is_cut = found.slot, found.opened, found.opened > 0
        self.next_number = self.expected_next = self.noted_next = found.next_number
        self.noted_end = found.end
        self.shown_by_chunks = shown_by_chunks

    @property
    def can_declare(self) -> bool:
        """Whether gap records and an end record may follow what is known of it.

        Not where it has no records or no stamps, where its last number is not known, and where no
        server took such a record.
        """
        return not (self.is_untold or self.is_cut) and self.next_number > 1 and self.has_stamps

    def note_acked(self, chunk: Chunk, end: int | None) -> None:
        """Note what an acked chunk, perhaps with its end, has shown: its slot is to show it."""
        self.noted_next = max(self.noted_next, chunk.last + 1)
        if end is not None and not self.undeclared:
            self.noted_end = end
        if chunk.first == self.opened:
            self.opened = 0

    def note_given(self, last: int) -> None:
        """Note that all numbers up to `last` were given out."""
        self.next_number = max(self.next_number, last + 1)

    def note_damaged(self, first: int, last: int) -> None:
        """Note numbers that are lost with a chunk; the last words of the stream declare them."""
        self.noted_end = 0
        self.undeclared = merge_gaps(self.undeclared, [Gap(first, last, DAMAGED)])
        self.note_given(last)


class Orphan:
    """The directory of a dead process, what is known of it, and what is bad in it.

    Args:
        directory: The process directory, locked by us.
        recovery: What it shares with other orphans.

    Attributes:
        directory, recovery: As given.
        counters: Those of the whole recovery.
        streams: Streams by id.
        chunks: Chunks that are to be shipped, in the order of opening.
        stamp_key: The field of the stamps, as far as it is known.
        holds: How many chunks need each segment. A chunk needs it until it is acked. One that is
            damaged, has a refused record, or alone shows what its stream is needs it until the
            directory is removed.
        is_kept: Whether the directory must stay, for another recoverer or a person.
        knows_slots: Whether a stream without a slot is known to have none.
        is_damaged: Whether something in it is damaged or not read: what is missing may be there.
        is_worth_a_retry: Whether what keeps the directory may be over after a while.
        wanted_bytes: Bytes that should have been copied to quarantine, where there was no room.
    """

    def __init__(self, directory: ProcessDirectory, recovery: Recovery) -> None:
        self.directory = directory
        self.recovery = recovery
        self.counters: RecoveryCounters = recovery.counters
        self.streams: dict[str, OrphanStream] = {}
        self.chunks: list[LocatedChunk] = []
        self.stamp_key: bytes | None = None
        self.holds: Counter[str] = Counter()
        self.is_kept: bool = False
        self.knows_slots: bool = True
        self.is_damaged: bool = False
        self.is_worth_a_retry: bool = False
        self.wanted_bytes: int = 0

    @property
    def name(self) -> str:
        """The name of the process directory."""
        return self.directory.name

    # -- marks -----------------------------------------------------------------------------------

    def mark(self, located: LocatedChunk, state: int, lost: int = 0) -> None:
        """Mark a chunk, for the next recoverer.

        Args:
            located: Which.
            state: `ACKED` where it needs nothing more; its stream's slot is stored before.
                `QUARANTINED` where it is damaged and copied.
            lost: How many numbers after its first one are lost with a damaged chunk.
        """
        word = _WORD.pack(layout.state_word(state, min(lost, _LOST_MAX)))
        self._store(located.segment, word, located.chunk.offset + layout.STATE_AT)

    def store_slot(self, stream: OrphanStream) -> bool:
        """Store what acked chunks have shown of a stream.

        Returns:
            Whether chunks need not show it any more. A stream without a slot has chunks that stay.
        """
        if stream.slot is None:
            return self.knows_slots
        words = layout.SLOT_WORDS.pack(stream.noted_next, stream.noted_end, stream.opened)
        return self._store(STREAMS, words, layout.slot_at(stream.slot))

    def unlink_if_done(self, segment: str) -> None:
        """Unlink a segment that no chunk needs any more."""
        if not self.holds[segment] and not self.is_kept:
            self.directory.unlink(segment)

    def _store(self, name: str, words: bytes, offset: int) -> bool:
        try:
            self.directory.raise_unless_held()
            with self.directory.opened(name) as descriptor:
                os.pwrite(descriptor, words, offset)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self.directory.is_there():
                return True  # no recoverer can find it, so none needs the mark
            self._keep_all(error, f"cannot be marked: {error}")
            return False
        return True

    # -- what is bad -----------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Tell a person of something about this directory."""
        self.recovery.say(f"{self.name}: {text}")

    def blame(self, name: str, offset: int, reason: str) -> None:
        """Count and name damage in a file."""
        self.is_damaged = True
        self.counters.damaged += 1
        self.recovery.say(f"{self.name}/{name} at {offset}: {reason}")

    def miss_segment(self, stream: str, numbers: str) -> None:
        """Count and name a segment that must have been there, by what is missing with it."""
        self.counters.damaged += 1
        self.say(f"a segment is missing or empty: stream {stream}, {numbers}")

    def leave_unread(self, name: str, offset: int, error: OSError, what: str = "") -> None:
        """Name bytes that cannot be read; the directory stays, for a recoverer that can."""
        self._stay(error)
        self.blame(name, offset, f"cannot be read{what and f' ({what})'}: {error}; it is kept")

    def refuse(self, name: str, reason: str | OSError, *, is_unread: bool = False) -> None:
        """Leave a file alone, and so the directory.

        Args:
            name: Of the file.
            reason: Why.
            is_unread: Whether it cannot be read, or tells of another directory; else its format is
                not ours.
        """
        self._stay(reason)
        self.is_damaged = True
        self.counters.refused += 1
        self.counters.unknown_version += not is_unread
        self.recovery.say(f"{self.name}/{name} is left alone: {reason}")

    def fail(self, error: BaseException) -> None:
        """Name an error that no step expects; the directory stays, for another recoverer."""
        self.counters.refused += 1
        self._keep_all(error, f"{type(error).__name__}: {error}; it is kept")

    def _keep_all(self, error: BaseException, text: str) -> None:
        """Name what could not be done; the directory stays as it is."""
        self._stay(error)
        self.say(text)

    def _stay(self, why: BaseException | str) -> None:
        """Keep the directory. What a signal handler raised passes, though it is an `OSError`."""
        self.is_kept = True
        if isinstance(why, OSError):
            if is_interruption(why):
                raise why
            self.is_worth_a_retry |= why.errno in _NO_DESCRIPTOR

    def keep(self, name: str, data: bytes) -> Kept:
        """Copy bytes to quarantine; where that fails, the directory stays."""
        try:
            if data:
                self.directory.keep(name, data)
        except QuarantineFull as full:
            self.counters.unkept += 1
            self.recovery.say(str(full))
            return Kept.NOWHERE
        except OSError as error:
            if error.errno in _NO_ROOM:
                self.wanted_bytes += len(data)
                self.is_worth_a_retry = True
            self._keep_all(error, f"{name} cannot be quarantined: {error}; it stays where it is")
            return Kept.ON_THE_SPOOL
        return Kept.QUARANTINED

"""What dead processes left on a spool, handed out chunk by chunk until nothing is left of it.

Reading side of `docs/spool-format.md`. `Leftovers` looks for lives whose lock can be had, oldest
first, and turns their chunks into `AdoptedChunk`s, which a buffer takes beside its own and a
client ships with their old ids and stamps. Everything read is untrusted, so files are read and
never mapped, and whatever is damaged is kept in quarantine, counted and named. One step is a
small piece of work, because the shipper's thread has living records to ship as well.
"""

from __future__ import annotations

import contextlib
import errno
import os
import struct
import time
from base64 import b64encode, urlsafe_b64decode
from collections import deque
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

from logship.buffer.chunk import Chunk, ChunkState, merge_ranges, subtract_ranges
from logship.buffer.stream import NUMBER_MAX, Gap, Stream
from logship.protocol.entries import pack_control, unpack_entries
from logship.spool.chunks import FoundChunk, Payload, read_payload
from logship.spool.directories import (
    STREAMS,
    ProcessDirectory,
    SpoolError,
    free_bytes,
    open_spool_directory,
    process_directories,
    sweep,
)
from logship.spool.files import pread_all
from logship.spool.format import (
    ACKED,
    OPEN,
    QUARANTINED,
    SLOT_END_AT,
    SLOT_NEXT_AT,
    STATE_AT,
    slot_at,
    state_word,
)
from logship.spool.quarantine import QuarantineFull
from logship.spool.segments import read_segment
from logship.spool.slots import FoundStream, StreamsContents, read_streams

SCAN_SECONDS = 5.0
"""How often a client looks for lives whose process has died meanwhile."""

DAMAGED_REASON = "damaged"
"""The word in gaps for records that could not be read from the spool."""

REFUSED_REASON = "quarantined"
"""The word in gaps for recovered records that no server takes."""

_RETRY_SECONDS_MIN = 60.0
_RETRY_SECONDS_MAX = 3600.0
"""How long a life waits until it is tried again, where its quarantine found no room or its last
words were not taken: twice as long each time, because what it has unmarked is counted and sent
again."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})

_NOTES_MAX = 100
_CONTROLS_MAX = 1000
_LIVES_MAX = 8
"""Lives that are recovered at a time. The next one is begun while acks of those before are waited
for: what no server takes, in one, is found out only by what it takes of another."""


class Waiting(Enum):
    """What a step of recovery came to, where that is no chunk."""

    NOT = auto()  # call again
    FOR_ACKS = auto()  # call again when a chunk was settled, or at `deadline_seconds`
    FOR_DEATHS = auto()  # nothing is left; call again after `SCAN_SECONDS`


@dataclass(slots=True)
class RecoveryCounters:
    """What became of what dead processes left.

    Attributes:
        lives: Dead processes whose spool was taken over.
        lives_finished: Those of which nothing is left.
        chunks: Chunks handed out.
        chunks_acked: Those that the sidecar acked.
        records: The application's records in chunks handed out.
        records_acked: The same in chunks acked.
        records_abandoned: Records written to stderr, because time was up.
        unsealed: Chunks that were never sent, so without a checksum: what is behind their commit
            word, an entry torn by the death at most, is cut off.
        damaged: Chunks, headers, words and files that could not be read.
        quarantined: Single records that no server takes; control records too, which are sent again.
        unkept: What should have been kept in quarantine, and found no room there.
        refused: Files and directories that were left alone, because they are not for us to read.
        unknown_version: Those of them whose format is another version's or byte order's.
        notes: Each of the last four by name, for a person; the first hundred.
    """

    lives: int = 0
    lives_finished: int = 0
    chunks: int = 0
    chunks_acked: int = 0
    records: int = 0
    records_acked: int = 0
    records_abandoned: int = 0
    unsealed: int = 0
    damaged: int = 0
    quarantined: int = 0
    unkept: int = 0
    refused: int = 0
    unknown_version: int = 0
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> bool:
        """Keep a line for a person, if it is new and there are not too many; tell whether."""
        is_new = len(self.notes) < _NOTES_MAX and text not in self.notes
        if is_new:
            self.notes.append(text)
        return is_new


class AdoptedChunk(Chunk):
    """A chunk of a dead process.

    It is not part of this process's account: `records` is 0.

    Attributes:
        data: Its payload.
        life: Who must be told when it is settled.
        found: Where it lies; None for the control records that recovery writes.
        recovered_records: How many of its entries the application logged.
        ends: Whether its last entry is its stream's end record.
        refused: Numbers in it that no server takes.
    """

    __slots__ = ("data", "ends", "found", "life", "recovered_records", "refused")

    spooled = True
    adopted = True

    def __init__(
        self,
        life: DeadLife,
        stream: Stream,
        chunk_id: str,
        payload: bytes,
        numbers: list[int],
        found: _Located | None,
    ) -> None:
        super().__init__(stream, 0, chunk_id, 0.0)
        self.data: bytes = payload
        self.size = len(payload)
        self.entries = len(numbers)
        self.first, self.last = numbers[0], numbers[-1]
        ranges = merge_ranges([(number, number) for number in numbers])
        self.holes = subtract_ranges([(self.first, self.last)], ranges)
        self.state = ChunkState.SEALED
        self.life = life
        self.found = found
        self.recovered_records = 0
        self.ends = found is None
        self.refused: list[int] = []

    def settled(self) -> None:
        """Note on the spool that the sidecar has it, or that no server takes it."""
        self.life.settled(self)


def settle(chunk: Chunk) -> None:
    """Have it noted that an adopted chunk, or a half of one, is done with."""
    whole = chunk.outermost
    if isinstance(whole, AdoptedChunk) and whole.is_done:
        whole.settled()


def refuse(chunk: Chunk) -> str:
    """Keep an adopted record that no server takes: in quarantine, or where it is.

    Args:
        chunk: It alone, as `Delivery` found it.

    Returns:
        A line for a person.
    """
    whole = chunk.outermost
    assert isinstance(whole, AdoptedChunk)
    return whole.life.refuse(whole, chunk)


class _Retry(NamedTuple):
    """When a life is tried again; seconds on the monotonic clock."""

    due_seconds: float
    wait_seconds: float
    wanted_bytes: int


class Leftovers:
    """Hands out the chunks of dead lives under one directory.

    Args:
        path: The directory that holds the lives.
        any_owner: Whether another user's spool is read, where we are root.
        default_tag: Returns the tag of a stream whose process never learned it; None where that
            is not known here either.
        random_bytes: As `os.urandom`.
        monotonic: Seconds.
        time_ns: Nanoseconds since the epoch.

    Attributes:
        counters: What became of the leftovers.
        news: What a person must be told before the next step, because that may change what the
            spool shows of it; whoever tells it takes it out.
        has_scanned: Whether a look for dead lives found none.
        others_live: Whether that look found lives that somebody has locked.
    """

    def __init__(
        self,
        path: Path,
        *,
        any_owner: bool = False,
        default_tag: Callable[[], str | None] = lambda: None,
        random_bytes: Callable[[int], bytes] = os.urandom,
        monotonic: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.counters = RecoveryCounters()
        self.news: deque[str] = deque()
        self.default_tag = default_tag
        self._path = path
        self._any_owner = any_owner
        self._random_bytes = random_bytes
        self._monotonic = monotonic
        self._time_ns = time_ns
        self._current: DeadLife | None = None
        self._waiting: list[DeadLife] = []
        self._finished_with: set[str] = set()
        self._shipped_from: set[str] = set()
        self._retries: dict[str, _Retry] = {}
        self._refused: set[str] = set()
        self._scan_due_seconds = monotonic()
        self._is_closed = False
        self.has_scanned = False
        self.others_live = False

    def step(self) -> AdoptedChunk | Waiting:
        """Do a small piece of work.

        Returns:
            The next chunk to ship, or what to wait for.
        """
        if self._is_closed:
            return Waiting.FOR_DEATHS
        current = self._current = self._current or self._next_settled()
        if current is None:
            return self._scan()
        try:
            outcome = next(current.work, None)
        except (OSError, SpoolError) as error:
            self.counters.refused += 1
            self._say(f"{self._path}/{current.life.name}: {error}; it is kept")
            outcome = None
        if isinstance(outcome, AdoptedChunk):
            self._shipped_from.add(current.life.name)
            return outcome
        if outcome is None:
            self._end(current)
        elif outcome is Waiting.FOR_ACKS:
            self._waiting.append(current)
            self._current = None
        return Waiting.NOT

    def _next_settled(self) -> DeadLife | None:
        """Take a life whose chunks are all settled from those that wait."""
        for life in self._waiting:
            if life.is_settled:
                self._waiting.remove(life)
                return life
        return None

    def scan_now(self) -> None:
        """Look for dead lives at the next step, whenever the last look was."""
        self._scan_due_seconds = self._monotonic()
        self.has_scanned = False

    def skip(self) -> None:
        """Leave the life that has waited longest as it is, and go on."""
        for life in self._lives()[:1]:
            self._end(life)

    def has_shipped_from(self, name: str) -> bool:
        """Tell whether a chunk of the life of this name was handed out; from any thread."""
        return name in self._shipped_from

    @property
    def deadline_seconds(self) -> float | None:
        """When to call `step` again if nothing else happens; None while only acks can help."""
        can_scan = self._current is None and len(self._waiting) < _LIVES_MAX
        return self._scan_due_seconds if can_scan and not self._is_closed else None

    @property
    def is_idle(self) -> bool:
        """Whether no dead life is being recovered."""
        return not self._lives()

    def close(self) -> None:
        """Give up the locks; what was not settled is for the next one."""
        self._is_closed = True
        for life in self._lives():
            self._end(life)

    def _lives(self) -> list[DeadLife]:
        current = [] if self._current is None else [self._current]
        return [*self._waiting, *current]

    def _end(self, life: DeadLife) -> None:
        if life is self._current:
            self._current = None
        else:
            self._waiting.remove(life)
        if life.is_worth_a_retry and not self._is_closed:
            self._try_again_later(life)
        else:
            self._finished_with.add(life.life.name)
        life.leave()
        self.counters.lives_finished += life.is_removed

    def _try_again_later(self, life: DeadLife) -> None:
        last = self._retries.get(life.life.name)
        wait = _RETRY_SECONDS_MIN if last is None else last.wait_seconds * 2
        wait = min(wait, _RETRY_SECONDS_MAX)
        due = self._monotonic() + wait
        self._retries[life.life.name] = _Retry(due, wait, life.wanted_bytes)

    def _waits_for_retry(self, name: str, parent: int) -> bool:
        """Tell whether a life was tried, and is not to be tried again now."""
        retry = self._retries.get(name)
        if retry is None:
            return False
        return self._monotonic() < retry.due_seconds or free_bytes(parent) < retry.wanted_bytes

    def _scan(self) -> Waiting:
        """Take over the oldest dead life, if there is one."""
        now = self._monotonic()
        nothing = Waiting.FOR_ACKS if self._waiting else Waiting.FOR_DEATHS
        if now < self._scan_due_seconds or len(self._waiting) >= _LIVES_MAX:
            return nothing
        taken = self._take_oldest()
        if taken is not None:
            self.counters.lives += 1
            self._current = DeadLife(
                taken,
                self.counters,
                self._random_bytes,
                self._time_ns,
                self._say,
                self.default_tag(),
            )
            return Waiting.NOT
        self._scan_due_seconds = now + SCAN_SECONDS
        self.has_scanned = True
        return nothing

    def _take_oldest(self) -> ProcessDirectory | None:
        self.others_live = False
        with contextlib.suppress(SpoolError):  # who writes there has said so
            parent = open_spool_directory(self._path, any_owner=self._any_owner)
            try:
                return self._oldest_in(parent)
            except OSError as error:
                self.counters.refused += 1
                self._say(f"{self._path}: cannot be read: {error}; what is there is kept")
            finally:
                os.close(parent)
        return None

    def _oldest_in(self, parent: int) -> ProcessDirectory | None:
        sweep(parent)
        ours = {each.life.name for each in self._waiting}
        names = [
            each for each in process_directories(parent) if each not in self._finished_with | ours
        ]
        names = [each for each in names if not self._waits_for_retry(each, parent)]
        for name in sorted(names, key=lambda each: (_born_ns(parent, each), each)):
            taken = self._take(parent, name)
            if taken is not None:
                return taken
            if name in self._refused:
                continue
            with contextlib.suppress(OSError):
                # Empty: who removed it died before this, its last step.
                os.rmdir(name, dir_fd=parent)
                continue
            self.others_live = True
        return None

    def _take(self, parent: int, name: str) -> ProcessDirectory | None:
        try:
            return ProcessDirectory.take_over(parent, name)
        except SpoolError as error:
            if name not in self._refused:
                self._refused.add(name)
                self.counters.refused += 1
                self._say(f"{self._path}/{error}; it is kept")
            return None

    def _say(self, text: str) -> None:
        """Name something bad, once; not for ever, where there is no end of it."""
        if self.counters.note(text):
            self.news.append(f"recovery: {text}")
            if len(self.counters.notes) == _NOTES_MAX:
                self.news.append("recovery: what is found from now on is counted, and not named")


class _Kept(Enum):
    """Where bytes are that should go to quarantine; the value says so of a record."""

    QUARANTINED = "is quarantined"
    ON_THE_SPOOL = "cannot be quarantined, and stays on the spool"
    NOWHERE = "is not kept"


class _File:
    """A segment of a dead life.

    Attributes:
        name: Of the file.
        descriptor: For reading and marking; -1 once it is unlinked.
        pending: Chunks in it that are not settled.
        is_needed: Whether it must stay until the end of the life: something in it is in
            quarantine, and the gap that says so is not acked; or a chunk that alone shows what
            its stream is.
    """

    def __init__(self, name: str, descriptor: int) -> None:
        self.name = name
        self.descriptor = descriptor
        self.pending = 0
        self.is_needed = False


class _Located(NamedTuple):
    """A chunk, and the file that it lies in."""

    file: _File
    chunk: FoundChunk


class _DeadStream:
    """What is known of a stream of a dead life.

    Attributes:
        stream: For tag, id and stamps.
        slot: In the file `streams`, or None.
        next_number: All numbers below were given out, as far as is known.
        ended: Whether its end record was acked, or is on the spool.
        gaps: What will not arrive.
        is_untold: Whether no server took a record that declares a gap of it, or its end.
    """

    def __init__(self, stream: Stream, slot: FoundStream | None) -> None:
        self.stream = stream
        self.slot = None if slot is None else slot.slot
        self.next_number = 1 if slot is None else slot.next_number
        self.ended = slot is not None and slot.end != 0
        self.gaps: list[Gap] = []
        self.is_untold = False


class DeadLife:
    """One dead process life: what it left, and how far it is shipped.

    Args:
        life: Locked by us.
        counters: Of the recovery.
        random_bytes: As `os.urandom`, for ids of chunks of our own.
        time_ns: Nanoseconds since the epoch, for records of our own.
        say: Told by name what is bad.
        default_tag: As `Leftovers` has it.

    Attributes:
        work: Its steps.
        is_removed: Whether nothing is left of it.
        wanted_bytes: What it should have copied to quarantine, where there was no room.
    """

    def __init__(
        self,
        life: ProcessDirectory,
        counters: RecoveryCounters,
        random_bytes: Callable[[int], bytes],
        time_ns: Callable[[], int],
        say: Callable[[str], object],
        default_tag: str | None,
    ) -> None:
        self.life = life
        self.work = self._steps()
        self.is_removed = False
        self.wanted_bytes = 0
        self._counters = counters
        self._random_bytes = random_bytes
        self._time_ns = time_ns
        self._say = say
        self._default_tag = default_tag
        self._files: list[_File] = []
        self._chunks: list[_Located] = []
        self._streams: dict[str, _DeadStream] = {}
        self._streams_descriptor = -1
        self._stamp_key: bytes | None = None
        self._has_header = False
        self._pending = 0
        self._is_kept = False
        self._is_unread = False
        self._is_left = False
        self._followers: dict[int, int] = {}
        self._refused: list[_Located] = []

    def leave(self) -> None:
        """Give up the lock, and close everything."""
        self._is_left = True
        with contextlib.suppress(ValueError):  # a forked child: the parent's thread was in it
            self.work.close()
        for descriptor in [each.descriptor for each in self._files] + [self._streams_descriptor]:
            if descriptor >= 0:
                os.close(descriptor)
        self._files, self._streams_descriptor = [], -1
        self.life.leave()

    @property
    def is_worth_a_retry(self) -> bool:
        """Whether what keeps the life may be over after a while."""
        return self.wanted_bytes > 0 or self._is_untold

    @property
    def _is_untold(self) -> bool:
        return any(dead.is_untold for dead in self._streams.values())

    @property
    def is_settled(self) -> bool:
        """Whether no chunk that was handed out is on its way."""
        return not self._pending

    def settled(self, chunk: AdoptedChunk) -> None:
        """Mark a chunk acked on the spool, and unlink its file if it was the last one in it."""
        if self._is_left:
            return  # whoever has the lock now ships it again
        self._pending -= 1
        if chunk.found is None:
            if not chunk.refused:
                self._note_end(chunk)
            return
        file = chunk.found.file
        file.pending -= 1
        if chunk.refused:
            file.is_needed = True
            self._refused.append(chunk.found)
        else:
            self._counters.chunks_acked += 1
            self._counters.records_acked += chunk.recovered_records
            if self._note_what_it_shows(chunk):
                word = struct.pack("=Q", state_word(ACKED, 0))
                self._store(file.descriptor, word, chunk.found.chunk.offset + STATE_AT)
        if self._is_shown_by_chunks(self._streams[chunk.stream.id]):
            file.is_needed = True
        self._unlink_if_done(file)

    def _is_shown_by_chunks(self, dead: _DeadStream) -> bool:
        """Tell whether only chunks show how far a stream came, or how its records are stamped."""
        return dead.slot is None or not self._has_header

    def _note_what_it_shows(self, chunk: AdoptedChunk) -> bool:
        """Note what the next recoverer could not know, since it does not read what is acked.

        Returns:
            Whether that is noted; else the chunk must go on showing it.
        """
        is_noted = self._note_next(chunk.stream.id, chunk.last + 1)
        return (not chunk.ends or self._note_end(chunk)) and is_noted

    def refuse(self, whole: AdoptedChunk, chunk: Chunk) -> str:
        """Keep a record that no server takes, and note its number as a gap.

        A control record is not given up. It is what gaps and ends are declared with: were it a gap
        itself, nobody could tell what it said. The life stays as it is, and says it again.
        """
        number, dead = chunk.first, self._streams[whole.stream.id]
        stamp = f"{dead.stream.id}:{number:010d}"
        self._counters.quarantined += 1
        whole.refused.append(number)
        text = f"the sidecar does not take record {stamp}, recovered from {self.life.name}"
        self._counters.note(text)
        if whole.found is None or _is_control(bytes(chunk.data)):
            dead.is_untold = True
            return f"{text}; it declares gaps or the end, and is sent again later"
        dead.gaps.append(Gap(number, number, REFUSED_REASON))
        kept = self._keep(f"{dead.stream.id}-{number:010d}.entry", bytes(chunk.data))
        return f"{text}; it {kept.value}"

    # -- the steps -------------------------------------------------------------------------------

    def _steps(self) -> Generator[AdoptedChunk | Waiting, None, None]:
        # What a step names is told before the next one: no step changes the spool on account of
        # what it has named itself. A recoverer that dies in between leaves it to be named again.
        if not self._read_streams():
            return
        yield Waiting.NOT
        for name in self.life.segments():
            yield from self._read_segment(name)
        self._chunks.sort(key=lambda each: each.chunk.identity.serial)
        self._note_followers()
        self._name_tags()
        yield Waiting.NOT
        for located in self._chunks:
            yield from self._adopt(located)
        yield from self._wait_for_acks()
        if not self._is_kept:
            yield from self._end_streams()
        if not self._is_kept:
            self._mark_declared()
            if not self._is_untold:
                self._remove()

    def _end_streams(self) -> Iterator[AdoptedChunk | Waiting]:
        for dead in list(self._streams.values()):
            self._learn_stamp(dead)
            chunk = self._last_words(dead)
            if chunk is not None:
                yield chunk
        yield from self._wait_for_acks()

    def _learn_stamp(self, dead: _DeadStream) -> None:
        """Take the key of the stamps from chunks, where it could not be read beside the slots."""
        if not dead.stream.suffix and self._stamp_key is not None:
            tag = dead.stream.tag.encode("utf-8")
            dead.stream = _stream_of(dead.stream.id, tag, self._stamp_key) or dead.stream

    def _mark_declared(self) -> None:
        """Mark what no server takes: if something stays, nobody must try it again."""
        for file, chunk in self._refused:
            if not self._streams[chunk.identity.stream].is_untold:
                word = struct.pack("=Q", state_word(ACKED, 0))
                self._store(file.descriptor, word, chunk.offset + STATE_AT)

    def _remove(self) -> None:
        try:
            self.life.remove()
            self.is_removed = True
        except OSError as error:
            self._say(f"{self.life.name}: everything is shipped, it cannot be removed: {error}")

    def _wait_for_acks(self) -> Generator[Waiting, None, None]:
        while self._pending:
            yield Waiting.FOR_ACKS

    def _read_streams(self) -> bool:
        """Read the file `streams`; tell whether the life may be touched."""
        contents = self._streams_contents()
        if contents is None:
            return True
        if contents.refused is not None:
            self._refuse_format(STREAMS, contents.refused)
            return False
        for damage in contents.damages:
            self._blame(STREAMS, damage.first, damage.reason)
        self._stamp_key, self._has_header = contents.stamp_key, contents.has_header
        for found in contents.streams:
            stream = _stream_of(
                found.stream, found.tag, contents.stamp_key, is_provisional=found.is_provisional
            )
            known = self._streams.get(found.stream)
            if stream is not None and (known is None or known.stream.is_provisional):
                self._streams[found.stream] = _DeadStream(stream, found)
        return True

    def _name_tags(self) -> None:
        """Give streams whose process died before it knew their tag the one that is known here."""
        for dead in self._streams.values():
            if not dead.stream.is_provisional:
                continue
            if self._default_tag is not None:
                dead.stream.tag = self._default_tag
            elif dead.next_number > 1 and not dead.ended:
                self._say(
                    f"{self.life.name}: the tag of stream {dead.stream.id} was never known; "
                    f"it is shipped as {dead.stream.tag!r}"
                )

    def _streams_contents(self) -> StreamsContents | None:
        """Return what the file `streams` holds; None where there is none and nothing to name."""
        try:
            self._streams_descriptor = self.life.open_file(STREAMS)
            data = self.life.read_file(STREAMS, self._streams_descriptor)
        except FileNotFoundError:
            contents = StreamsContents(is_begun=False)
        except OSError as error:
            # Not the same as none: numbers would be given out again, and streams ended again.
            self._is_unread = True
            self._refuse_file(STREAMS, str(error))
            return None
        else:
            contents = read_streams(data, self.life.id)
        if not contents.is_begun and self.life.segments():
            self._blame(STREAMS, 0, "the file is missing or empty")
        return contents if contents.is_begun else None

    def _read_segment(self, name: str) -> Iterator[Waiting]:
        """Find the chunks of one file, and keep what is damaged in it."""
        try:
            file = _File(name, self.life.open_file(name))
            self._files.append(file)
            data, unreadable = self.life.read_around(name, file.descriptor)
        except OSError as error:
            self._is_unread = True
            self._refuse_file(name, str(error))
            yield Waiting.NOT
            return
        contents = read_segment(data, self.life.id)
        if contents.refused is not None:
            self._refuse_format(name, contents.refused)
            yield Waiting.NOT
            return
        for first, why in unreadable:
            self._leave_unread(name, first, why)
        for damage in contents.damages:
            self._blame(name, damage.first, damage.reason)
        for chunk in contents.chunks:
            self._note_chunk(file, chunk)
            if chunk.state == ACKED:
                self._note_acked(file, chunk, data)
        yield Waiting.NOT
        if contents.damages and not unreadable:  # else it may be the hole in what was read
            for damage in contents.damages:
                kept = data[damage.first : damage.last].rstrip(b"\0")
                self._keep(f"{self.life.name}-{name}-{damage.first}.damage", kept)
            yield Waiting.NOT
        self._unlink_if_done(file)

    def _note_chunk(self, file: _File, chunk: FoundChunk) -> None:
        identity = chunk.identity
        if identity.stream not in self._streams:
            stream = _stream_of(
                identity.stream,
                identity.tag,
                identity.stamp_key,
                is_provisional=identity.is_provisional,
            )
            if stream is None:
                self._blame(file.name, chunk.offset, "a chunk's stream is no stream")
                return
            self._streams[identity.stream] = _DeadStream(stream, None)
        dead = self._streams[identity.stream]
        if dead.stream.is_provisional and not identity.is_provisional:
            dead.stream.tag = _text_of(identity.tag)
            dead.stream.is_provisional = False
        self._stamp_key = self._stamp_key or identity.stamp_key
        plausible = min(chunk.entries, chunk.size)
        dead.next_number = max(dead.next_number, identity.first + plausible)
        if chunk.state == QUARANTINED:
            self._note_lost(
                file, dead, Gap(identity.first, identity.first + chunk.checksum, DAMAGED_REASON)
            )
        elif chunk.state != ACKED and chunk.entries:
            self._chunks.append(_Located(file, chunk))
            self._counters.unsealed += chunk.state == OPEN
            file.pending += 1

    def _note_acked(self, file: _File, chunk: FoundChunk, data: bytes) -> None:
        """Note how far a stream without a slot had come when a recoverer before us died."""
        dead = self._streams.get(chunk.identity.stream)
        if dead is None or not self._is_shown_by_chunks(dead):
            return
        file.is_needed = True
        payload = read_payload(chunk, data[chunk.payload_at : chunk.payload_end])
        if isinstance(payload, Payload) and payload.numbers:
            dead.ended = dead.ended or payload.end is not None
            dead.next_number = max(dead.next_number, payload.numbers[-1] + 1)

    def _note_followers(self) -> None:
        """Note where each chunk's numbers must have ended: before those of the next one."""
        next_first: dict[str, int] = {}
        for located in reversed(self._chunks):
            identity = located.chunk.identity
            known = next_first.get(identity.stream, self._streams[identity.stream].next_number)
            self._followers[id(located)] = known
            next_first[identity.stream] = identity.first

    def _adopt(self, located: _Located) -> Iterator[AdoptedChunk | Waiting]:
        """Yield the chunk for shipping, or keep it in quarantine if it is damaged."""
        file, chunk = located
        try:
            data = pread_all(file.descriptor, chunk.size, chunk.payload_at)
            payload = read_payload(chunk, data)
            is_sound = isinstance(payload, Payload)
            header = (
                b"" if is_sound else pread_all(file.descriptor, chunk.header_bytes, chunk.offset)
            )
        except OSError as error:
            self._leave_unread(file.name, chunk.offset, error, _of(chunk, chunk.entries))
            yield Waiting.NOT
            return
        if not isinstance(payload, Payload):
            yield from self._quarantine(located, header + data, payload)
            return
        dead = self._streams[chunk.identity.stream]
        dead.ended = dead.ended or payload.end is not None
        dead.next_number = max(dead.next_number, payload.numbers[-1] + 1)
        adopted = AdoptedChunk(
            self, _routed(dead.stream, chunk), chunk.identity.id, data, payload.numbers, located
        )
        adopted.recovered_records = payload.records
        adopted.ends = payload.end is not None
        self._pending += 1
        self._counters.chunks += 1
        self._counters.records += payload.records
        yield adopted

    def _quarantine(self, located: _Located, data: bytes, reason: str) -> Iterator[Waiting]:
        """Name a damaged chunk, then keep its bytes, then mark it; each in a step of its own."""
        file, chunk = located
        identity = chunk.identity
        last = max(identity.first, self._followers[id(located)] - 1)
        text = f"a chunk is damaged ({_of(chunk, last - identity.first + 1)}): {reason}"
        self._blame(file.name, chunk.offset, text)
        yield Waiting.NOT
        if self._is_unread:
            return  # what follows it, and so what is lost with it, cannot be told
        name = f"{self.life.name}-{file.name}-{chunk.offset}.chunk"
        kept = self._keep(name, data)
        yield Waiting.NOT
        if kept is _Kept.ON_THE_SPOOL:
            return  # the next recoverer tries again
        gap = Gap(identity.first, last, DAMAGED_REASON)
        self._note_lost(file, self._streams[identity.stream], gap)
        file.pending -= 1
        word = struct.pack("=Q", state_word(QUARANTINED, min(last - identity.first, 0xFFFFFFFF)))
        self._store(file.descriptor, word, chunk.offset + STATE_AT)

    def _note_lost(self, file: _File, dead: _DeadStream, gap: Gap) -> None:
        """Note numbers that will not arrive; their file stays until that is declared and acked."""
        dead.gaps.append(gap)
        dead.next_number = max(dead.next_number, gap.last + 1)
        file.is_needed = True

    def _last_words(self, dead: _DeadStream) -> AdoptedChunk | None:
        """Return the chunk that declares a stream's gaps and ends it, if it has not ended."""
        if dead.ended or dead.is_untold or not dead.stream.suffix:
            return None
        begin = dead.next_number
        if begin == 1 or begin + _CONTROLS_MAX > NUMBER_MAX:
            return None
        gaps = sorted(dead.gaps)[: _CONTROLS_MAX - 1]
        text = "logship: records will not arrive"
        records: list[dict[str, object]] = [
            {"message": text, "logship_gap": list(gap)} for gap in gaps
        ]
        records.append({"message": "logship: stream closed", "logship_end": "recovered"})
        numbers = list(range(begin, begin + len(records)))
        entries = [
            pack_control(record, self._time_ns()) + dead.stream.suffix_of(number)
            for number, record in zip(numbers, records, strict=True)
        ]
        self._pending += 1
        chunk_id = b64encode(self._random_bytes(16)).decode("ascii")
        return AdoptedChunk(self, dead.stream, chunk_id, b"".join(entries), numbers, None)

    # -- what is stored ----------------------------------------------------------------------------

    def _note_end(self, chunk: AdoptedChunk) -> bool:
        dead = self._streams[chunk.stream.id]
        dead.ended = True
        return self._store_in_slot(dead, chunk.last, SLOT_END_AT)

    def _note_next(self, stream_id: str, next_number: int) -> bool:
        dead = self._streams[stream_id]
        return self._store_in_slot(dead, max(dead.next_number, next_number), SLOT_NEXT_AT)

    def _store_in_slot(self, dead: _DeadStream, number: int, at: int) -> bool:
        """Store a number of a stream; for one without a slot its chunks go on showing it."""
        if dead.slot is None:
            return not self._is_unread
        word = struct.pack("=Q", number)
        return self._store(self._streams_descriptor, word, slot_at(dead.slot) + at)

    def _store(self, descriptor: int, word: bytes, offset: int) -> bool:
        """Store a word; where that fails, what was acked is sent again some day: stamps show it."""
        try:
            os.pwrite(descriptor, word, offset)
        except OSError as error:
            self._is_kept = True
            self._say(f"{self.life.name}: cannot be marked: {error}")
            return False
        return True

    def _unlink_if_done(self, file: _File) -> None:
        if not file.pending and not file.is_needed and not self._is_kept:
            self.life.unlink(file.name)
            self._files.remove(file)
            os.close(file.descriptor)

    # -- what is kept and named --------------------------------------------------------------------

    def _keep(self, name: str, data: bytes) -> _Kept:
        """Copy bytes to quarantine, if there is room; where that fails, the life stays as it is."""
        if not data:
            return _Kept.QUARANTINED
        try:
            self.life.keep(name, data)
        except QuarantineFull as full:
            self._counters.unkept += 1
            self._say(str(full))
            return _Kept.NOWHERE
        except OSError as error:
            self._is_kept = True
            self.wanted_bytes += len(data) if error.errno in _NO_ROOM else 0
            self._say(
                f"{self.life.name}: {name} cannot be quarantined: {error}; it stays where it is"
            )
            return _Kept.ON_THE_SPOOL
        return _Kept.QUARANTINED

    def _leave_unread(self, name: str, offset: int, error: OSError, what: str = "") -> None:
        """Name bytes that cannot be read; the life stays, for one who can."""
        self._is_kept = self._is_unread = True
        self._blame(name, offset, f"cannot be read{what and f' ({what})'}: {error}; it is kept")

    def _blame(self, name: str, offset: int, reason: str) -> None:
        self._counters.damaged += 1
        self._say(f"{self.life.name}/{name} at {offset}: {reason}")

    def _refuse_format(self, name: str, reason: str) -> None:
        self._counters.unknown_version += 1
        self._refuse_file(name, reason)

    def _refuse_file(self, name: str, reason: str) -> None:
        self._is_kept = True
        self._counters.refused += 1
        self._say(f"{self.life.name}/{name} is left alone: {reason}")


def _is_control(entry: bytes) -> bool:
    """Tell whether an entry is one of logship's own, which declares a gap or its stream's end."""
    return any(
        "logship_gap" in record or "logship_end" in record for _, record in unpack_entries(entry)
    )


def _of(chunk: FoundChunk, count: int) -> str:
    """Return whose numbers a chunk has, for a person."""
    first = chunk.identity.first
    return f"stream {chunk.identity.stream}, numbers {first} to {first + count - 1}"


def _text_of(tag: bytes) -> str:
    return tag.decode("utf-8", "backslashreplace")


def _stream_of(
    stream_id: str, tag: bytes, stamp_key: bytes | None, *, is_provisional: bool = False
) -> Stream | None:
    """Return the stream with this id, or None where it is no id of ours."""
    try:
        raw = urlsafe_b64decode(stream_id)
        key = None if stamp_key is None else stamp_key.decode("utf-8")
    except ValueError:
        return None
    stream = Stream(_text_of(tag), key, lambda _: raw, is_provisional=is_provisional)
    return stream if stream.id == stream_id else None


def _routed(stream: Stream, chunk: FoundChunk) -> Stream:
    """Return the stream as this chunk names its route, which is the same but for damage.

    A provisional tag names none: by now the stream has the final one, if anybody knows it.
    """
    identity = chunk.identity
    if identity.is_provisional or stream.tag.encode("utf-8") == identity.tag:
        return stream
    return _stream_of(stream.id, identity.tag, identity.stamp_key) or stream


def _born_ns(parent: int, name: str) -> int:
    """Return when a life began, as far as that can be read; what cannot is the oldest."""
    with contextlib.suppress(OSError):
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        directory = os.open(name, flags | os.O_DIRECTORY, dir_fd=parent)
        try:
            descriptor = os.open(STREAMS, flags, dir_fd=directory)
            try:
                return struct.unpack("=Q", os.pread(descriptor, 8, 32).ljust(8, b"\0"))[0]  # type: ignore[no-any-return]
            finally:
                os.close(descriptor)
        finally:
            os.close(directory)
    return 0


def inspect_lives(path: Path) -> Iterator[dict[str, object]]:
    """Yield what each life under `path` holds, and change nothing.

    Raises:
        SpoolError: `path` is no directory of a spool.
    """
    parent = open_spool_directory(path, any_owner=True)
    try:
        for name in sorted(
            process_directories(parent), key=lambda each: (_born_ns(parent, each), each)
        ):
            yield {"life": name, "born_ns": _born_ns(parent, name), **_inspect(parent, name)}
    finally:
        os.close(parent)


def _inspect(parent: int, name: str) -> dict[str, object]:
    try:
        life = ProcessDirectory.take_over(parent, name)
    except SpoolError as error:
        return {"state": "refused", "reason": str(error)}
    if life is None:
        return {"state": "alive or being recovered"}
    try:
        return {"state": "dead", **_contents(life)}
    except OSError as error:
        return {"state": "refused", "reason": str(error)}
    finally:
        life.leave()


def _contents(life: ProcessDirectory) -> dict[str, object]:
    chunks: list[FoundChunk] = []
    damages: list[str] = []
    for name in life.segments():
        descriptor = life.open_file(name)
        try:
            found = read_segment(life.read_file(name, descriptor), life.id)
        finally:
            os.close(descriptor)
        chunks += [each for each in found.chunks if each.state != ACKED and each.entries]
        damages += [f"{name} at {each.first}: {each.reason}" for each in found.damages]
        damages += [f"{name}: {found.refused}"] if found.refused is not None else []
    return {
        "chunks": len(chunks),
        "entries": sum(each.entries for each in chunks),
        "bytes": sum(each.size for each in chunks),
        "damages": damages,
        "streams": [
            {
                "stream": each.identity.stream,
                "tag": _text_of(each.identity.tag),
                "first": each.identity.first,
                "entries": each.entries,
            }
            for each in sorted(chunks, key=lambda each: each.identity.serial)
        ],
    }

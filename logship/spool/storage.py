"""Chunks in mapped files, so that a record outlives its process from before `emit` returns.

The storage behind the buffer's seam when `spool_dir` is set; `docs/spool-format.md` is its design.
Producers call it inside the buffer's critical section, where an exception from a signal handler
may come at any point. So `open_chunk` only prepares, and `link`, `release` and the notes are parts
of the buffer's changes, which may be made twice. The shipper's thread does the slow part, files,
between its turns, and says what happened.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

from logship.buffer.chunk import Chunk, ChunkState, MemoryChunk, new_chunk_id
from logship.buffer.stream import Stream
from logship.hooks.threads import OwnThread
from logship.protocol.readable import well_formed
from logship.spool.directories import STREAMS, SpoolError
from logship.spool.directories import ProcessDirectory as Life
from logship.spool.format import (
    ACKED,
    SEGMENT_HEADER_BYTES,
    SLOTS,
    STATE_AT,
    STREAMS_BYTES,
    TAG_BYTES_MAX,
    ChunkIdentity,
    chunk_header_bytes,
    pack_chunk_header,
    pack_segment_header,
    pack_streams_header,
    state_word,
)
from logship.spool.mapped import (
    SLACK_BYTES,
    SLACK_BYTES_MIN,
    Mapping,
    Segment,
    SpoolChunk,
    StreamsFile,
    UnspooledChunk,
    Words,
    map_file,
)
from logship.spool.volumes import volume_warning

SEGMENT_BYTES = 4 * 1024 * 1024
RETRY_SECONDS = 5.0
"""How often a volume that could not be written is tried again."""

SYNC_SECONDS = 1.0
"""What a power cut may cost with `spool_fsync=interval`."""

_MARGIN_BYTES = 4 * 1024
"""A control record, and the header of another chunk: what may come with an entry."""

_SPARES_MAX = 2


class SpoolStorage:
    """Where chunks lie when there is a spool.

    Args:
        path: The directory that holds the lives.
        bytes_max: All segments together.
        memory_bytes_max: What may be held in memory while the spool cannot be written.
        chunk_bytes_max: A chunk is no larger, but for a single large record.
        stamp_key: The field of the stamp, or None.
        segment_bytes: Of a file, where no record needs a larger one.
        syncs: Whether files are written to the disk every second.
        random_bytes: As `os.urandom`.
        monotonic: Seconds.
        time_ns: Nanoseconds since the epoch.
        mapper: Maps files; tests bring one that watches every store.

    Attributes:
        news: What a person should be told, as (kind, text); the reader takes it out.
        segment_bytes: Of a file, and at least one chunk.
    """

    def __init__(  # noqa: PLR0913 - what is chosen, and the four parts that tests replace
        self,
        path: Path,
        *,
        bytes_max: int,
        memory_bytes_max: int,
        chunk_bytes_max: int,
        stamp_key: str | None,
        segment_bytes: int = SEGMENT_BYTES,
        syncs: bool = False,
        random_bytes: Callable[[int], bytes] = os.urandom,
        monotonic: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
        mapper: Callable[[int, int], tuple[Mapping, Words]] = map_file,
    ) -> None:
        self.path = path
        self.news: deque[tuple[str, str]] = deque()
        self.segment_bytes = max(segment_bytes, _pages(chunk_bytes_max + _MARGIN_BYTES))
        self._bytes_max = bytes_max
        self._memory_bytes_max = memory_bytes_max
        self._chunk_bytes_max = chunk_bytes_max
        self._stamp_key = None if stamp_key is None else stamp_key.encode("utf-8")
        self._syncs = syncs
        self._random_bytes = random_bytes
        self._monotonic = monotonic
        self._time_ns = time_ns
        self._mapper = mapper
        self._life: Life | None = None
        self._streams: StreamsFile | None = None
        self._segments: list[Segment] = []
        self._active: Segment | None = None
        self._file_numbers = itertools.count(1)
        self._generations = itertools.count(1)
        # The chunks in memory, and the records of those that are settled: one change for both.
        self._in_memory: tuple[frozenset[UnspooledChunk], int] = frozenset(), 0
        self._latest: dict[str, SpoolChunk] = {}
        self._trouble = False
        self._is_foreign = False
        self._is_closed = False
        self._due_seconds = monotonic()
        self._sync: Sync | None = None
        self._warn_of_volume()
        self._try_to_begin()

    # -- producers, in the buffer's critical section ---------------------------------------------

    def has_room(self, size: int) -> bool:
        """Tell whether an entry of `size` bytes finds a place; makes one if it can."""
        need = size + _MARGIN_BYTES
        return self._segment_for(need) is not None or (
            self._trouble and self._memory_left() >= size
        )

    def open_chunk(self, stream: Stream, serial: int, opened_seconds: float, size: int) -> Chunk:
        """Return an empty chunk with room for an entry of `size` bytes."""
        tag = _packed_tag(stream)
        header_bytes = chunk_header_bytes(tag, self._stamp_key)
        segment = self._segment_for(header_bytes + size) if len(tag) <= TAG_BYTES_MAX else None
        chunk_id = new_chunk_id(self._random_bytes)
        if segment is None or self._streams is None:
            return self._open_in_memory(stream, serial, chunk_id, opened_seconds, size)
        self._streams.add(stream, tag)
        opened_ns = self._time_ns()
        key = self._stamp_key
        identity = ChunkIdentity(
            chunk_id,
            stream.next_number,
            serial,
            opened_ns,
            stream.id,
            tag,
            key,
            stream.is_provisional,
        )
        chunk = SpoolChunk(stream, serial, chunk_id, opened_seconds, segment, header_bytes)
        chunk.capacity = max(size, min(self._chunk_bytes_max, segment.size - chunk.payload_at))
        chunk.slack = self._slack_of(stream)
        assert self._life is not None
        header = pack_chunk_header(identity, segment.generation, self._life.id)
        segment.mapping[chunk.header_at : chunk.payload_at] = header
        self._latest[stream.id] = chunk
        return chunk

    def link(self, chunk: Chunk) -> None:
        """Make a prepared chunk the spool's own. May be called again."""
        if isinstance(chunk, SpoolChunk):
            chunk.link()
        elif isinstance(chunk, UnspooledChunk):
            memory, settled = self._in_memory
            self._in_memory = memory | {chunk}, settled

    def release(self, chunk: Chunk) -> None:
        """Free what `chunk` holds: it was acked or dropped. May be called again."""
        if isinstance(chunk, SpoolChunk):
            self._release_spooled(chunk)
        elif isinstance(chunk, UnspooledChunk):
            self._release_in_memory(chunk)
        if isinstance(chunk, MemoryChunk):
            chunk.free()

    def number_dropped(self, stream: Stream, number: int) -> None:
        """Note that `number` was given out and will not be in any chunk."""
        if self._streams is not None:
            self._streams.note(stream, number + 1)

    def tag_known(self, stream: Stream) -> None:
        """Note the tag that a provisional one has given way to; headers keep what they say."""
        if self._streams is not None:
            self._streams.rename(stream, _packed_tag(stream))

    outlives_process = True

    @property
    def unspooled(self) -> int:
        """How many records of the application were taken in memory, for want of a spool."""
        memory, settled = self._in_memory
        return settled + sum(each.records for each in memory)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all files."""
        files = sum(segment.size for segment in self._segments)
        return files + (STREAMS_BYTES if self._streams is not None else 0)

    # -- the shipper's thread --------------------------------------------------------------------

    def maintain(self, locked: Callable[[Callable[[], list[Segment]]], list[Segment]]) -> None:
        """Keep a spare segment, give back what is too much, and try again what failed.

        Args:
            locked: Calls what it is given inside the buffer's critical section.
        """
        if self._is_foreign or self._is_closed:
            return
        if self._monotonic() >= self._due_seconds:
            self._due_seconds = self._monotonic() + RETRY_SECONDS
            self._look_again()
        if self._life is not None and not self._trouble and self._wants_spare():
            self._allocate(self.segment_bytes)
        for segment in locked(self._take_surplus):
            if self._life is not None:
                self._life.unlink(segment.name)

    def retry_deadline_seconds(self) -> float | None:
        """Return when `maintain` should be called at the latest, or None."""
        is_over = self._is_foreign or self._is_closed
        return self._due_seconds if self._trouble and not is_over else None

    def close(self) -> None:
        """Remove the life if nothing is left on it, else leave it to a recoverer.

        Upkeep that comes later does nothing: it would begin another life, if this one was in
        trouble.
        """
        self._is_closed = True
        life, self._life = self._life, None
        self._stop_sync()
        if life is None:
            return
        if any(segment.live for segment in self._segments):
            life.leave()
        else:
            _remove(life)

    def abandon(self) -> None:
        """In a forked child: keep nothing of the parent's, neither the lock nor the files."""
        self._is_foreign = self._trouble = True
        for segment in self._segments:
            for chunk in segment.live:
                if chunk.state is ChunkState.OPEN:
                    chunk.move_to_memory()
        life, self._life = self._life, None
        self._streams, self._segments, self._active = None, [], None
        if life is not None:
            life.leave()

    # -- inside: places --------------------------------------------------------------------------

    def _segment_for(self, need: int) -> Segment | None:
        """Return a segment where a chunk of `need` bytes, header included, may begin."""
        active = self._active
        if active is not None and active.tail is not None and not active.live:
            active.begin_anew(next(self._generations))
        more = min(SLACK_BYTES, self._chunk_bytes_max // 8)  # else chunks become too small
        if active is not None and active.room() >= need + more:
            return active
        fresh = self._free_segment(need) or self._allocated_in_line(need)
        if fresh is not None:
            fresh.begin_anew(next(self._generations))
            self._active = fresh
            return fresh
        return active if active is not None and active.room() >= need else None

    def _free_segment(self, need: int) -> Segment | None:
        for segment in self._segments:
            fits = segment.size - SEGMENT_HEADER_BYTES >= need
            if fits and not segment.live and segment is not self._active:
                return segment
        return None

    def _allocated_in_line(self, need: int) -> Segment | None:
        """Allocate in the producer's thread, because no spare is ready; not while that fails."""
        if self._trouble or self._life is None:
            return None
        return self._allocate(max(self.segment_bytes, _pages(need + SEGMENT_HEADER_BYTES)))

    def _slack_of(self, stream: Stream) -> int:
        """Return twice what the stream's last chunk came to, so that it follows the stream's pace.

        Many tags that log much want large chunks; in an outage, what a quiet tag does not use of
        its slack is lost for the others.
        """
        if len(self._latest) > SLOTS:
            self._latest = {}  # tags come and go
        latest = self._latest.get(stream.id)
        if latest is None:
            return SLACK_BYTES
        return min(max(2 * latest.size, SLACK_BYTES_MIN), self._chunk_bytes_max // 2)

    def _open_in_memory(
        self, stream: Stream, serial: int, chunk_id: str, opened_seconds: float, size: int
    ) -> Chunk:
        chunk = UnspooledChunk(stream, serial, chunk_id, opened_seconds, self._note_number)
        chunk.capacity = max(size, min(self._chunk_bytes_max, self._memory_left()))
        return chunk

    def _memory_left(self) -> int:
        held = sum(
            each.capacity if each.state is ChunkState.OPEN else each.size
            for each in self._in_memory[0]
        )
        return self._memory_bytes_max - held

    def _note_number(self, stream: Stream, next_number: int) -> None:
        if self._streams is not None:
            self._streams.note(stream, next_number)

    def _release_spooled(self, chunk: SpoolChunk) -> None:
        segment = chunk.segment
        if chunk not in segment.live or self._is_foreign:
            return
        if self._streams is not None:
            self._streams.note_settled(chunk.stream, chunk.last + 1)
        segment.words[(chunk.header_at + STATE_AT) >> 3] = state_word(ACKED, 0)
        segment.live.discard(chunk)

    def _release_in_memory(self, chunk: UnspooledChunk) -> None:
        memory, settled = self._in_memory
        if chunk in memory:
            self._in_memory = memory - {chunk}, settled + chunk.records
        if self._streams is not None:
            self._streams.note_settled(chunk.stream, chunk.last + 1)

    # -- inside: files ---------------------------------------------------------------------------

    def _warn_of_volume(self) -> None:
        warning = volume_warning(self.path)
        if warning is not None:
            self.news.append(("volume", warning))

    def _try_to_begin(self) -> None:
        """Make a life with its streams and a first segment."""
        try:
            self._life = life = _begin_life(self.path, self._random_bytes)
            self._check_floor(life, STREAMS_BYTES)
            header = pack_streams_header(life.id, self._time_ns(), self._stamp_key)
            self._streams = StreamsFile(
                life.id, *self._mapped(life, STREAMS, STREAMS_BYTES, header)
            )
            self._allocate(self.segment_bytes)
            self._start_sync()
        except (OSError, SpoolError) as error:
            self._fail(error)
        if self._trouble:
            self._give_up_life()

    def _give_up_life(self) -> None:
        """Go back to where no life was begun; what lies in it stays, for a recoverer."""
        life, self._life, self._streams = self._life, None, None
        if life is None:
            return
        if any(segment.live for segment in self._segments):
            life.leave()
        else:
            _remove(life)
        self._segments, self._active = [], None

    def _look_again(self) -> None:
        """Try what failed; see whether the life is still where it was made."""
        if self._life is not None and not self._life.is_there():
            for segment in self._segments:
                segment.is_kept = False
            self._fail(SpoolError(f"{self.path}: the directory of this process has been removed"))
            self._life.leave()
            self._life, self._streams, self._segments, self._active = None, None, [], None
        if not self._trouble:
            return
        self._trouble, before = False, len(self.news)
        if self._life is None:
            self._try_to_begin()
        elif self._free_segment(0) is None:
            self._allocate(self.segment_bytes)
        if self._trouble:
            while len(self.news) > before:  # it was said when it began
                self.news.pop()
        else:
            self.news.append(("spool", f"the spool {self.path} can be written again and is in use"))

    def _wants_spare(self) -> bool:
        """Tell whether another segment will be needed soon, and there is none, and there may be."""
        active = self._active
        if active is not None and active.room() > self.segment_bytes // 2:
            return False
        may_be = self.bytes_on_disk + 2 * self.segment_bytes <= self._bytes_max
        return may_be and self._free_segment(0) is None

    def _allocate(self, size: int) -> Segment | None:
        """Add a segment of `size` bytes; None at the bound, or where the volume does not allow."""
        life = self._life
        if life is None:
            return None
        if self.bytes_on_disk + size > self._bytes_max:
            self._give_back(life)
        if self.bytes_on_disk + size > self._bytes_max:
            return None
        name = f"segment-{next(self._file_numbers):08d}.spool"
        try:
            self._check_floor(life, size)
            segment = self._make_segment(life, name, size)
        except (OSError, SpoolError) as error:
            self._fail(error)
            return None
        self._segments.append(segment)
        return segment

    def _make_segment(self, life: Life, name: str, size: int) -> Segment:
        header = pack_segment_header(size, life.id)
        try:
            return Segment(name, size, *self._mapped(life, name, size, header))
        except BaseException:
            life.unlink(name)
            raise

    def _mapped(self, life: Life, name: str, size: int, header: bytes) -> tuple[Mapping, Words]:
        """Make a file that begins with `header`, and map it."""
        descriptor = life.allocate(name, size)
        try:
            os.pwrite(descriptor, header, 0)
            return self._mapper(descriptor, size)
        finally:
            os.close(descriptor)

    def _check_floor(self, life: Life, size: int) -> None:
        left = life.free_bytes()
        if size > left:
            raise SpoolError(
                f"{self.path}: the volume is nearly full, what is left of it stays free for others"
            )

    def _give_back(self, life: Life) -> None:
        """Unlink all spares: what is needed now is of another size, and there must be room."""
        free = [each for each in self._segments if not each.live and each is not self._active]
        self._segments = [each for each in self._segments if each not in free]
        for segment in free:
            life.unlink(segment.name)

    def _take_surplus(self) -> list[Segment]:
        """Take free segments that are too large or too many out of use; inside the section."""
        free = [each for each in self._segments if not each.live and each is not self._active]
        spare = [each for each in free if each.size == self.segment_bytes][:_SPARES_MAX]
        surplus = [each for each in free if each not in spare]
        self._segments = [each for each in self._segments if each not in surplus]
        return surplus

    def _fail(self, error: Exception) -> None:
        """Go on in memory; say so once."""
        self._due_seconds = self._monotonic() + RETRY_SECONDS
        if self._trouble:
            return
        self._trouble = True
        text = (
            f"the spool cannot be written ({_reason(error, self.path)}); records are held in "
            f"memory, up to {self._memory_bytes_max} bytes, and would die with the process"
        )
        self.news.append(("spool", text))

    # -- inside: syncing -------------------------------------------------------------------------

    def _start_sync(self) -> None:
        if self._syncs and self._life is not None and not self._trouble:
            self._sync = Sync(self._life)

    def _stop_sync(self) -> None:
        if self._sync is not None:
            self._sync.stop()


class Sync:
    """Has a life written to the disk every second, on a thread of its own: a disk may be slow.

    Args:
        life: Which.
    """

    def __init__(self, life: Life) -> None:
        self._life = life
        self._stopped = threading.Event()
        self._thread = OwnThread(self._run, "sync")
        with contextlib.suppress(RuntimeError):  # at interpreter exit
            self._thread.start()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()

    def _run(self) -> None:
        while not self._stopped.wait(SYNC_SECONDS):
            with contextlib.suppress(OSError, ValueError):  # the volume fails; the life is left
                self._life.sync()


def _packed_tag(stream: Stream) -> bytes:
    return well_formed(stream.tag).encode("utf-8")


def _begin_life(path: Path, random_bytes: Callable[[int], bytes]) -> Life:
    """Begin a life; a recoverer that sweeps may have come in between once."""
    try:
        return Life.begin(path, random_bytes)
    except OSError:
        return Life.begin(path, random_bytes)


def _remove(life: Life) -> None:
    """Remove a life; what cannot be removed has nothing in it that a recoverer would ship."""
    with contextlib.suppress(OSError):
        life.remove()


def _pages(size: int) -> int:
    return (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE


def _reason(error: Exception, path: Path) -> str:
    return f"{path}: {error.strerror}" if isinstance(error, OSError) else str(error)

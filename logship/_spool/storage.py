"""Chunks in mapped files, so that a record outlives its process from before `emit` returns.

The storage behind the buffer's seam when `spool_dir` is set; `docs/spool-format.md` is its design.
Producers call it inside the buffer's critical section, where an exception from a signal handler
may come at any point. So `open_chunk` only prepares, and `link`, `release` and the notes are parts
of the buffer's changes, which may be made twice. The shipper's thread does the slow part, files,
between its turns, and says what happened.
"""

from __future__ import annotations

import operator
import os
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from logship._buffer.chunk import Chunk, Storage, new_chunk_id
from logship._buffer.stream import Stream
from logship._hooks.interruptions import is_interruption
from logship._protocol.readable import well_formed
from logship._settings import MIB
from logship._spool import format as layout
from logship._spool.mapped import (
    SLACK_BYTES,
    SLACK_BYTES_MIN,
    Mapping,
    MemoryBudget,
    Segment,
    SpoolChunk,
    UnspooledChunk,
    Words,
    map_file,
)
from logship._spool.own_directory import OwnDirectory, pages
from logship._spool.spool_directory import SpoolError
from logship._spool.volumes import volume_warning

SEGMENT_BYTES = 4 * 1024 * 1024
RETRY_SECONDS = 5.0
"""How often a volume that could not be written is tried again."""

_MARGIN_BYTES = 4 * 1024
"""A control record, and the header of another chunk: what may come with an entry."""


class SpoolStorage(Storage):
    """Where chunks lie when there is a spool.

    Args:
        path: The directory that holds the process directories.
        bytes_max: All files together.
        memory_bytes_max: What may be held in memory while the spool cannot be written.
        chunk_bytes_max: A chunk is not larger, except for a single large record.
        stamp_key: The field of the stamp, or None.
        segment_bytes: Of a file, where no record needs a larger one.
        syncs: Whether files are written to the disk every second.
        random_bytes: As `os.urandom`.
        monotonic: Seconds.
        time_ns: Nanoseconds since the epoch.
        mapper: Maps files; tests bring one that watches every store.

    Attributes:
        news: What a person should be told, as (kind, text); the reader takes it out.
        lost: Names of process directories that were lost. This process ships what it logged there.
    """

    outlives_process = True
    has_place = False

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
        self.lost: set[str] = set()
        self._budget = MemoryBudget(memory_bytes_max)
        self._chunk_bytes_max = chunk_bytes_max
        self.small_bytes = min(SLACK_BYTES, chunk_bytes_max // 8)
        self._stamp_key = None if stamp_key is None else stamp_key.encode("utf-8")
        self._random_bytes = random_bytes
        self._monotonic = monotonic
        self._time_ns = time_ns
        self._new_directory = partial(
            OwnDirectory,
            path,
            bytes_max=bytes_max,
            segment_bytes=max(segment_bytes, pages(chunk_bytes_max + _MARGIN_BYTES)),
            stamp_key=self._stamp_key,
            syncs=syncs,
            random_bytes=random_bytes,
            time_ns=time_ns,
            mapper=mapper,
        )
        self._own: OwnDirectory | None = None
        # The chunks in memory, and the records of those that are settled: one change for both.
        self._in_memory: tuple[frozenset[UnspooledChunk], int] = frozenset(), 0
        self._trouble = False
        self._is_unsynced = False
        self._has_long_tags = False
        self._is_over = False
        self._due_seconds = monotonic()
        warning = volume_warning(path)
        if warning is not None:
            self.news.append(("volume", warning))
        self._try_files(self._begin)

    # -- producers, in the buffer's critical section ---------------------------------------------

    def has_room(self, size: int) -> bool:
        """Tell whether an entry of `size` bytes finds a place; makes one if it can."""
        return self.keeps(size) or (self._takes_memory and self._budget.bytes_left >= size)

    def keeps(self, size: int) -> bool:
        """Tell whether an entry of `size` bytes finds a place that outlives the process."""
        return self._segment_for(size + _MARGIN_BYTES) is not None

    def look(self) -> None:
        """Leave a directory whose lock is lost: a recoverer may have ended its streams."""
        if self._own is not None and not self._own.directory.is_held():
            self._leave_if_lost(operator.call)
            self.look_soon()  # the next turn begins another directory

    def open_chunk(self, stream: Stream, serial: int, size: int) -> Chunk:
        """Return an empty chunk with room for an entry of `size` bytes."""
        tag, key = _packed_tag(stream), self._stamp_key
        header_bytes = layout.chunk_header_bytes(tag, key)
        has_header = len(tag) <= layout.TAG_BYTES_MAX
        segment = self._segment_for(header_bytes + size) if has_header else None
        chunk_id, own = new_chunk_id(self._random_bytes), self._own
        if segment is None or own is None:
            unspooled = UnspooledChunk(stream, serial, chunk_id, self.note_given, self._budget)
            takes_more = self._takes_memory or not has_header
            unspooled.capacity = max(size, self._chunk_bytes_max) if takes_more else size
            if not has_header and not self._has_long_tags:
                self._has_long_tags = True
                text = f"records with tags of more than {layout.TAG_BYTES_MAX} bytes are held in "
                self.news.append(("tag", f"{text}memory, and would be lost with the process"))
            return unspooled
        own.streams.add(stream, tag)
        chunk = SpoolChunk(stream, serial, chunk_id, segment, header_bytes)
        chunk.capacity = max(size, min(self._chunk_bytes_max, segment.size - chunk.payload_at))
        chunk.slack = self._slack_of(stream)
        first, opened_ns = stream.next_number, self._time_ns()
        identity = layout.ChunkIdentity(
            chunk_id, first, serial, opened_ns, stream.id, tag, key, stream.is_provisional
        )
        header = layout.pack_chunk_header(identity, segment.generation, own.directory.id)
        segment.mapping[chunk.header_at : chunk.payload_at] = header
        return chunk

    def link(self, chunk: Chunk) -> None:
        """Make a prepared chunk the spool's own. May be called again."""
        self.has_place = False
        memory, settled = self._in_memory
        if isinstance(chunk, SpoolChunk):
            if any(each.stream is chunk.stream for each in memory):  # see `UnspooledChunk`
                self.note_given(chunk.stream, chunk.first)
            chunk.link()
            bytes_behind = chunk.segment.size - chunk.payload_at - chunk.capacity
            self.has_place = bytes_behind >= self.small_bytes + _MARGIN_BYTES
            if self._own is not None:
                self._own.streams.note_opened(chunk.stream, chunk.first)
        elif isinstance(chunk, UnspooledChunk):
            self._hold(memory | {chunk}, settled)

    def release(self, chunk: Chunk) -> None:
        """Free what `chunk` holds: it was acked or dropped. May be called again."""
        if isinstance(chunk, SpoolChunk):
            if chunk.spooled:
                self._note_settled(chunk)
                chunk.mark_acked()
            return
        assert isinstance(chunk, UnspooledChunk)
        memory, settled = self._in_memory
        if chunk in memory:
            self._hold(memory - {chunk}, settled + chunk.records)
        self._note_settled(chunk)
        chunk.free()

    def note_given(self, stream: Stream, next_number: int) -> None:
        """Note that all numbers below `next_number` were given out. May be called again."""
        own = self._own
        if own is not None:
            own.streams.note(stream, next_number)

    def tag_known(self, stream: Stream) -> None:
        """Note the tag that a provisional one has given way to; headers keep what they say."""
        own = self._own
        if own is not None:
            own.streams.rename(stream, _packed_tag(stream))

    @property
    def unspooled(self) -> int:
        """How many records of the application were taken in memory, for want of a spool."""
        memory, settled = self._in_memory
        return settled + sum(each.records for each in memory)

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all files."""
        own = self._own
        return 0 if own is None else own.bytes_on_disk

    @property
    def _takes_memory(self) -> bool:
        """Whether records may be held in memory, because no file can be made."""
        return self._trouble or self._own is None

    def _segment_for(self, need: int) -> Segment | None:
        """Return a segment where a chunk of `need` bytes, header included, may begin.

        Where none is ready it is allocated in the producer's thread, unless that fails.
        """
        own = self._own
        if own is None:
            return None
        more = self.small_bytes  # else chunks become too small
        segment = own.segment_for(need, more)
        if segment is None and not self._trouble:
            self._try_files(lambda: own.allocate(need))
            segment = own.segment_for(need, more)
        return segment or own.segment_for(need, 0)

    def _slack_of(self, stream: Stream) -> int:
        """Return twice what the stream's last chunk came to, so that it follows the stream's pace.

        Many tags that log much want large chunks; in an outage, what a quiet tag does not use of
        its slack is lost for the others.
        """
        if not stream.sealed_bytes:
            return SLACK_BYTES
        return min(max(2 * stream.sealed_bytes, SLACK_BYTES_MIN), self._chunk_bytes_max // 2)

    def _hold(self, chunks: frozenset[UnspooledChunk], settled: int) -> None:
        """Hold these chunks in memory, and count their bytes anew, whatever came in between."""
        self._in_memory = chunks, settled
        self._budget.bytes_held = sum(each.size for each in chunks)

    def _note_settled(self, chunk: Chunk) -> None:
        own = self._own
        if own is not None:
            own.streams.note_settled(chunk.stream, chunk.first, chunk.last + 1)

    # -- the shipper's thread --------------------------------------------------------------------

    def maintain(self, locked: Callable[[Callable[[], Any]], Any]) -> None:
        """Keep a spare segment, give back what is too much, and try again what failed.

        Args:
            locked: Calls what it is given inside the buffer's critical section.
        """
        if self._is_over:
            return
        if self._monotonic() >= self._due_seconds:
            self._due_seconds = self._monotonic() + RETRY_SECONDS
            self._look_again(locked)
        own = self._own
        if own is None:
            return
        if not self._trouble and own.wants_spare():
            self._try_files(lambda: own.allocate(0, locked))
        own.unlink(locked(own.take_surplus))

    def look_soon(self) -> None:
        """Have the next upkeep see whether the process directory is there, and try what failed."""
        self._due_seconds = self._monotonic()

    def retry_deadline_seconds(self) -> float | None:
        """Return when `maintain` should be called at the latest, or None."""
        return self._due_seconds if self._trouble and not self._is_over else None

    def close(self) -> None:
        """Remove the process directory if nothing is left in it, else leave it to a recoverer.

        Upkeep that comes later does nothing: it would begin another one, if there was trouble.
        """
        self._is_over = True
        own, self._own = self._own, None
        if own is not None:
            own.end()

    def abandon(self) -> None:
        """In a forked child: keep nothing of the parent's, neither the lock nor the files."""
        self._is_over = True
        own, self._own = self._own, None
        if own is not None:
            own.abandon()

    def _begin(self) -> None:
        """Make a process directory with its streams and a first segment."""
        own = self._new_directory()
        if self.lost and own.sync_thread is not None:  # a disk that fails is to get no more of them
            own.sync_first()
        self._own = own

    def _look_again(self, locked: Callable[[Callable[[], Any]], Any]) -> None:
        """See whether the process directory is still this process's; try what failed."""
        self._leave_if_lost(locked)
        own = self._own
        if own is not None and own.sync_error is not None and not self._is_unsynced:
            self._is_unsynced = True
            why = own.sync_error.strerror
            text = f"the spool {self.path} cannot be written to the disk ({why}); a crash of the "
            self.news.append(("spool", f"{text}machine may cost more than the last second"))
        if not self._trouble:
            return
        if own is None:
            works = self._try_files(self._begin)
        else:
            works = own.has_free or self._try_files(lambda: own.allocate(0, locked))
        if works:
            locked(self._leave_memory)
            self.news.append(("spool", f"the spool {self.path} can be written again and is in use"))

    def _leave_if_lost(self, locked: Callable[[Callable[[], Any]], Any]) -> None:
        loss = None if self._own is None else self._own.loss()
        if loss is not None:
            self._fail(f"{self.path}: {loss}")
            locked(self._leave_lost)

    def _leave_lost(self) -> None:
        """Leave a directory that is lost; where this is interrupted, the next look does it."""
        self.has_place = False
        if self._own is not None:
            self.lost.add(self._own.directory.name)
            self._own.leave_lost()
            self._own = None

    def _leave_memory(self) -> None:
        """Have the chunks in memory take no more records, and open no more of them."""
        for chunk in self._in_memory[0]:
            chunk.capacity = chunk.size
        self._trouble = False

    def _try_files(self, make: Callable[[], object]) -> bool:
        """Make files; tell whether the volume allows it."""
        try:
            make()
        except OSError as error:
            if is_interruption(error):
                raise
            is_denied = isinstance(error, PermissionError)
            hint = f"; user {os.geteuid()} must be able to write there" if is_denied else ""
            self._fail(f"{self.path}: {error.strerror}{hint}")
        except SpoolError as error:
            self._fail(str(error))
        else:
            return True
        return False

    def _fail(self, reason: str) -> None:
        """Go on in memory; say so once."""
        self._due_seconds = self._monotonic() + RETRY_SECONDS
        if self._trouble:
            return
        self._trouble = True
        text = (
            f"the spool cannot be written ({reason}); records are held in memory, "
            f"up to {self._budget.bytes_max / MIB:.4g} MiB, and would be lost with the process"
        )
        self.news.append(("spool", text))


def _packed_tag(stream: Stream) -> bytes:
    return well_formed(stream.tag).encode("utf-8")

"""The process's own directory on a spool: its file `streams`, its segments, and places in them.

Producers ask for places inside the buffer's critical section; the shipper's thread makes segments
before they are needed, and takes those out of use that are too many.
"""

from __future__ import annotations

import contextlib
import itertools
import mmap
import operator
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from logship._hooks.threads import OwnThread
from logship._spool import format as layout
from logship._spool.directories import FAILED_VOLUME, STREAMS, ProcessDirectory
from logship._spool.files import closing
from logship._spool.mapped import Mapping, Segment, StreamsFile, Words
from logship._spool.spool_directory import SpoolError

SYNC_SECONDS = 1.0
"""What a power cut may cost with `spool_fsync=interval`."""

_SPARES_MAX = 2


class OwnDirectory:
    """A process directory, locked, with a file `streams` and a first segment.

    The arguments are those of `SpoolStorage`.

    Attributes:
        directory: The process directory.
        streams: The numbers of its streams.
        segments: All segments.
        sync_thread: Writes the files to the disk every second, or None: a disk may be slow.
        sync_error: Why that failed, if it did.

    Raises:
        SpoolError: `path` cannot be used, or its volume is nearly full.
        OSError: Something cannot be made.
    """

    def __init__(
        self,
        path: Path,
        *,
        bytes_max: int,
        segment_bytes: int,
        stamp_key: bytes | None,
        syncs: bool,
        random_bytes: Callable[[int], bytes],
        time_ns: Callable[[], int],
        mapper: Callable[[int, int], tuple[Mapping, Words]],
    ) -> None:
        self.directory = directory = _begun(path, random_bytes)
        self._path = path
        self.segments: list[Segment] = []
        self._ended = threading.Event()
        self.sync_thread: OwnThread | None = None
        self.sync_error: OSError | None = None
        self._active: Segment | None = None
        self._bytes_max = bytes_max
        self._segment_bytes = segment_bytes
        self._mapper = mapper
        self._file_numbers = itertools.count(1)
        try:
            header = layout.pack_streams_header(directory.id, time_ns(), stamp_key)
            self.streams = StreamsFile(
                directory.id, *self._mapped(STREAMS, layout.STREAMS_BYTES, header)
            )
            self.allocate(0)
        except BaseException:
            self.end()
            raise
        if syncs:
            self.sync_thread = OwnThread(self._keep_synced, "sync")
            with contextlib.suppress(RuntimeError):  # at interpreter exit
                self.sync_thread.start()

    @property
    def bytes_on_disk(self) -> int:
        """Bytes of all files."""
        return layout.STREAMS_BYTES + sum(segment.size for segment in self.segments)

    def segment_for(self, need: int, more: int) -> Segment | None:
        """Return a segment where a chunk of `need` bytes, header included, may begin.

        It is the active one if that has room for so much and `more`, else a free one, which is
        the active one from now on; None where there is neither, and once the directory was left: a
        fork may have come while a segment was made.
        """
        if self.directory.is_left:
            return None
        active = self._active
        if active is not None and active.room() >= need + more:
            return active
        for segment in self._free():
            if segment.room() >= need:
                self._active = segment
                return segment
        return None

    def allocate(
        self, need: int, locked: Callable[[Callable[[], Any]], Any] = operator.call
    ) -> None:
        """Add a segment where a chunk of `need` bytes may begin, unless the bound forbids it.

        Args:
            need: How many bytes.
            locked: Calls what it is given inside the section; by default the caller is inside.

        Raises:
            SpoolError: The volume is nearly full.
            OSError: The volume is full, or cannot be written.
        """
        size = max(self._segment_bytes, pages(need + layout.SEGMENT_HEADER_BYTES))
        if self.bytes_on_disk + size > self._bytes_max:
            self.unlink(locked(lambda: self.take_surplus(spares=0)))  # another size is needed now
            if self.bytes_on_disk + size > self._bytes_max:
                return
        name = f"segment-{next(self._file_numbers):08d}.spool"
        header = layout.pack_segment_header(size, self.directory.id)
        segment = Segment(name, size, *self._mapped(name, size, header))
        locked(lambda: self.segments.append(segment))

    def wants_spare(self) -> bool:
        """Tell whether another segment will be needed soon, and there is none, and there may be."""
        if self._active is not None and self._active.room() > self._segment_bytes // 2:
            return False
        may_be = self.bytes_on_disk + 2 * self._segment_bytes <= self._bytes_max
        return may_be and not self.has_free

    @property
    def has_free(self) -> bool:
        """Whether a segment is ready to be used next."""
        return bool(self._free())

    def take_surplus(self, spares: int = _SPARES_MAX) -> list[Segment]:
        """Take free segments that are too large or too many out of use; inside the section."""
        free = self._free()
        spare = [each for each in free if each.size == self._segment_bytes][:spares]
        surplus = [each for each in free if each not in spare]
        self.segments = [each for each in self.segments if each not in surplus]
        return surplus

    def unlink(self, segments: list[Segment]) -> None:
        """Unlink segments that were taken out of use."""
        for segment in segments:
            self.directory.unlink(segment.name)

    def end(self) -> None:
        """Remove the directory if no chunk is left in it, else leave it to a recoverer."""
        self._ended.set()
        with_chunks = [segment for segment in self.segments if segment.live]
        if with_chunks or not self.directory.is_held():  # else its descriptors may be the program's
            self.directory.leave()
        else:
            with contextlib.suppress(OSError):  # nothing in it would be shipped
                self.directory.remove()

    def loss(self) -> str | None:
        """Return why the directory is no longer this process's, or None while it is."""
        is_there, is_locked = self.directory.is_there(), self.directory.is_locked()
        is_under_path = self.directory.is_under(self._path)
        write_error = self.write_error()
        if not self.directory.is_held():  # asked last: what is not ours says nothing of it
            return "the lock of this process was closed by its program"
        if not is_there:
            return "the directory of this process has been removed"
        if not is_under_path:
            return "another directory is there now, or none; was a volume mounted or unmounted?"
        if write_error is not None:
            return f"its volume has failed: {write_error.strerror}"
        return None if is_locked else "the lock of this process has been removed or replaced"

    def sync_first(self) -> None:
        """Write the files to the disk; end the directory where that shows that the disk fails.

        Raises:
            OSError: It does.
        """
        self._sync()
        if (error := self.write_error()) is not None:
            self.end()
            raise error

    def write_error(self) -> OSError | None:
        """Return the error that shows that nothing more reaches the disk, or None."""
        error = self.sync_error
        is_failed = error is not None and error.errno in FAILED_VOLUME
        return error if is_failed else self.directory.write_error()

    def leave_lost(self) -> None:
        """Leave a directory that is lost, and have its chunks take no more; inside the section."""
        self._ended.set()
        if not self.directory.is_removed():
            self.streams.leave_ends()
        for segment in self.segments:
            for chunk in segment.live:
                chunk.capacity = chunk.size
        self._leave_chunks()

    def abandon(self) -> None:
        """In a forked child: leave the parent's lock and files.

        A signal handler may have forked in the middle of a call. The call goes on here too, and
        stores what nothing reads.
        """
        try:
            self.streams.leave_file()
            for segment in self.segments:
                segment.leave_file()
        finally:
            self._leave_chunks()

    def _leave_chunks(self) -> None:
        """Leave the directory; the chunks in it are in memory that dies with the process."""
        for segment in self.segments:
            segment.live.clear()
            segment.tail = None  # else both keep each other, and the file stays mapped
        self.directory.leave()

    def _keep_synced(self) -> None:
        with contextlib.suppress(ValueError):  # the directory was left
            while not self._ended.wait(SYNC_SECONDS):
                self._sync()

    def _sync(self) -> None:
        try:
            self.directory.sync()
        except OSError as error:
            self.sync_error = error

    def _free(self) -> list[Segment]:
        return [each for each in self.segments if not each.live and each is not self._active]

    def _mapped(self, name: str, size: int, header: bytes) -> tuple[Mapping, Words]:
        """Make a file that begins with `header`, and map it."""
        if size > self.directory.free_bytes():
            raise SpoolError(
                f"{self._path}: the volume is nearly full; the rest stays free for others"
            )
        with (
            self.directory.makes(name),
            closing(self.directory.allocate(name, size)) as descriptor,
        ):
            try:
                os.pwrite(descriptor, header, 0)
                return self._mapper(descriptor, size)
            except BaseException:
                self.directory.unlink(name)
                raise


def pages(size: int) -> int:
    """Return the next size that is whole pages."""
    return (size + mmap.PAGESIZE - 1) // mmap.PAGESIZE * mmap.PAGESIZE


def _begun(path: Path, random_bytes: Callable[[int], bytes]) -> ProcessDirectory:
    """Begin a process directory; a recoverer that sweeps may have come in between once."""
    try:
        return ProcessDirectory.begin(path, random_bytes)
    except (FileNotFoundError, BlockingIOError):
        return ProcessDirectory.begin(path, random_bytes)

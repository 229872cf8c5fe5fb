"""Reading and making the files of a spool, by descriptor.

Files are opened relative to the directory that holds them, without following links, because the
volume of a spool is shared and others write to it.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
from collections.abc import Iterator

from logship import _system

_SAFELY = _system.O_NOFOLLOW | _system.O_CLOEXEC
OPEN_DIRECTORY = os.O_RDONLY | _system.O_DIRECTORY | _SAFELY
OPEN_FILE = os.O_RDWR | _system.O_NONBLOCK | _SAFELY
READ_FILE = os.O_RDONLY | _system.O_NONBLOCK | _SAFELY

WINDOW_BYTES = 512 * 1024
"""How much of a file is in memory at a time, twice at most; and how large holes may be."""


def create(name: str, directory: int) -> int:
    """Make a file that only its owner may read, and return its descriptor.

    Raises:
        OSError: There is such a file, or it cannot be made.
    """
    return os.open(name, OPEN_FILE | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=directory)


def close(*descriptors: int) -> None:
    """Close those of the descriptors that are open; -1 stands for none."""
    for descriptor in descriptors:
        if descriptor >= 0:
            with contextlib.suppress(OSError):
                os.close(descriptor)


@contextlib.contextmanager
def closing(descriptor: int) -> Iterator[int]:
    """Close an open descriptor at the end of the block."""
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def pread_all(descriptor: int, size: int, offset: int) -> bytes:
    """Return `size` bytes from `offset`, or fewer where the file ends before."""
    parts: list[bytes] = []
    while size > 0:
        part = os.pread(descriptor, size, offset)
        if not part:
            break
        parts.append(part)
        offset += len(part)
        size -= len(part)
    return b"".join(parts)


FILE_BYTES_MAX = 1 << 30
"""No file of a spool is longer; a longer one is not read."""


class FileBytes:
    """The bytes of an open file, read as they are asked for, at most a window at a time.

    A file may claim a size that the disk does not hold. Holes are skipped where bytes are looked
    for, and a long slice ends at the first hole if holes make up more of it than a window: so a
    sparse file costs what the disk holds, not what it claims. Zeros stand for bytes that the disk
    does not give.

    Attributes:
        unreadable: The error of each page that the disk does not give, by its offset.

    Raises:
        OSError: The file is longer than any file of a spool.
    """

    def __init__(self, descriptor: int) -> None:
        self.unreadable: dict[int, OSError] = {}
        self._descriptor = descriptor
        self._size = os.fstat(descriptor).st_size
        if self._size > FILE_BYTES_MAX:
            raise OSError(f"it has {self._size} bytes, which no file of a spool has")
        self._window = b""
        self._window_at = 0
        self._has_read = False

    def __len__(self) -> int:
        return self._size

    def __getitem__(self, where: slice) -> bytes:
        start, stop, _ = where.indices(self._size)
        if stop - start > WINDOW_BYTES:
            return self.read(start, stop)
        if stop <= start:
            return b""
        self._load(start, stop)
        return self._window[start - self._window_at : stop - self._window_at]

    def read(self, start: int, stop: int) -> bytes:
        """Return the bytes from `start` to `stop`, and read no others."""
        stop = min(stop, self._size)
        if stop - start > WINDOW_BYTES:
            stop = self._end_of_data(start, stop)
        return self._read(start, max(start, stop))

    @property
    def is_unreadable(self) -> bool:
        """Whether bytes were asked for, and the disk gave none of them."""
        return bool(self.unreadable) and not self._has_read

    def raise_if_unreadable(self) -> None:
        """Raise the error of a page that the disk did not give, if there is any.

        Raises:
            OSError: There is.
        """
        for error in self.unreadable.values():
            raise error

    def find(self, wanted: bytes, start: int, stop: int) -> int:
        """Return the first offset of `wanted`, which holds no zero, in a part; -1 for none."""
        start, stop = self._next_data(start), min(stop, self._size)
        while start + len(wanted) <= stop:
            self._load(start, start + len(wanted))
            found = self._window.find(wanted, start - self._window_at, stop - self._window_at)
            if found >= 0:
                return self._window_at + found
            start = self._next_data(self._window_at + len(self._window) - len(wanted) + 1)
        return -1

    def end_of_content(self, first: int, last: int, bytes_max: int) -> int:
        """Return the offset at which the bytes from `first` to `last` are nothing but zeros.

        With more content than `bytes_max`, return any offset that lies behind so much.
        """
        end, start = first, self._next_data(first)
        while start < last and end - first <= bytes_max:
            stop = min(start + WINDOW_BYTES, last)
            part = self[start:stop].rstrip(b"\0")
            end = start + len(part) if part else end
            start = self._next_data(stop)
        return end

    def _load(self, start: int, stop: int) -> None:
        """Have the window hold the bytes from `start` to `stop`."""
        if start < self._window_at or stop > self._window_at + len(self._window):
            self._window_at = start // mmap.PAGESIZE * mmap.PAGESIZE
            self._window = self._read(
                self._window_at, min(self._window_at + 2 * WINDOW_BYTES, self._size)
            )

    def _next_data(self, start: int) -> int:
        """Return the next offset that the disk holds; the size where there is none."""
        try:
            return os.lseek(self._descriptor, start, os.SEEK_DATA)
        except OSError as error:
            return self._size if error.errno == errno.ENXIO else start

    def _end_of_data(self, start: int, stop: int) -> int:
        """Return where a slice ends: at the first hole, if it has more than a window of holes."""
        holes, at, first_hole = 0, start, stop
        with contextlib.suppress(OSError):  # the filesystem knows nothing of holes
            while at < stop:
                hole = os.lseek(self._descriptor, at, os.SEEK_HOLE)
                at = min(self._next_data(hole), stop)
                if hole < stop:
                    first_hole = min(first_hole, hole)
                    holes += at - hole
        return first_hole if holes > WINDOW_BYTES else stop

    def _read(self, start: int, stop: int) -> bytes:
        try:
            data = pread_all(self._descriptor, stop - start, start)
            self._has_read = True
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            data = b"".join(self._read_pages(start, stop))
        return data.ljust(stop - start, b"\0")  # the file may have been made shorter

    def _read_pages(self, start: int, stop: int) -> Iterator[bytes]:
        """Yield what can be read, page by page, and zeros for the pages that cannot."""
        while start < stop:
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            size = min(page + mmap.PAGESIZE, stop) - start
            try:
                yield pread_all(self._descriptor, size, start).ljust(size, b"\0")
                self._has_read = True
            except OSError as error:
                self.unreadable[page] = error
                yield bytes(size)
            start += size

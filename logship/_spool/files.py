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


FILE_BYTES_MAX = 16 * 1024 * 1024
"""Twice the longest payload. No file of a spool is longer; a longer one is not read."""


class FileBytes:
    """What the disk gives of an open file, or of a part of it; else zeros.

    Attributes:
        data: The bytes; fewer than asked for where the file ends before.
        unreadable: The error of each page that the disk does not give, by its offset in the file.

    Raises:
        OSError: The file is longer than any file of a spool, or the disk gives nothing of it.
    """

    def __init__(self, descriptor: int, start: int = 0, stop: int = FILE_BYTES_MAX) -> None:
        size = os.fstat(descriptor).st_size
        if size > FILE_BYTES_MAX:
            raise OSError(f"it has {size} bytes, which no file of a spool has")
        self.unreadable: dict[int, OSError] = {}
        self.data: bytes = self._read(descriptor, start, min(stop, size))

    def raise_if_unreadable(self) -> None:
        """Raise the error of a page that the disk did not give, if there is any.

        Raises:
            OSError: There is.
        """
        for error in self.unreadable.values():
            raise error

    def _read(self, descriptor: int, start: int, stop: int) -> bytes:
        try:
            return pread_all(descriptor, stop - start, start)
        except OSError as error:
            if error.errno != errno.EIO:
                raise
        pages = []
        while start < stop:
            end = min(start // mmap.PAGESIZE * mmap.PAGESIZE + mmap.PAGESIZE, stop)
            page = b""
            try:
                page = pread_all(descriptor, end - start, start)
            except OSError as error:
                self.unreadable[start] = error
            pages.append(page.ljust(end - start, b"\0"))
            start = end
        if len(self.unreadable) == len(pages):
            self.raise_if_unreadable()
        return b"".join(pages)

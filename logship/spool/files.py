"""Reading and making the files of a spool, by descriptor.

Files are opened relative to the directory that holds them, without following links, because the
volume of a spool is shared and others write to it.
"""

from __future__ import annotations

import contextlib
import mmap
import os

OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


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


def read_pages(descriptor: int, error: OSError) -> tuple[bytes, list[tuple[int, OSError]]]:
    """Return what can be read of a file, page by page, and the offsets of the other pages."""
    pages: list[bytes] = []
    unreadable: list[tuple[int, OSError]] = []
    size = os.fstat(descriptor).st_size
    for offset in range(0, size, mmap.PAGESIZE):
        length = min(mmap.PAGESIZE, size - offset)
        try:
            pages.append(pread_all(descriptor, length, offset).ljust(length, b"\0"))
        except OSError as why:
            unreadable.append((offset, why))
            pages.append(bytes(length))
    if len(unreadable) == len(pages):
        raise error
    return b"".join(pages), unreadable

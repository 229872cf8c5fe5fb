"""What a process keeps open in the directory of pages: its page, and the right to serve."""

from __future__ import annotations

import contextlib
import errno
import os

from logship import _system
from logship._metrics.page_format import copy_of, copy_offset, page_header
from logship._metrics.sums import Numbers


class Page:
    """The page of this process.

    Args:
        descriptor: Of its file, locked; the `Pages` that began it closes it.
        page_id: Sixteen bytes.
    """

    def __init__(self, descriptor: int, page_id: bytes) -> None:
        self._descriptor = descriptor
        self._identity = _system.identity_of(descriptor)
        self._generation = 0
        os.pwrite(descriptor, page_header(page_id), 0)

    def write(self, numbers: Numbers, *, is_done: bool) -> None:
        """Write the numbers over the older of the two copies.

        Args:
            numbers: Of this process.
            is_done: Whether nothing would be lost if it were killed now.

        Raises:
            OSError: It cannot be written, or the program has closed the descriptor.
        """
        if _system.identity_of(self._descriptor) != self._identity:
            raise OSError(errno.EBADF, "the program has closed its descriptor")
        self._generation += 1
        copy = copy_of(self._generation, numbers, is_done=is_done)
        os.pwrite(self._descriptor, copy, copy_offset(self._generation))

    @property
    def is_there(self) -> bool:
        """Whether the file still has a name; another program may have removed it."""
        return os.fstat(self._descriptor).st_nlink > 0


class Claim:
    """The right to serve on a port, and the number of the last port that was served.

    Args:
        descriptor: Of the lock's file.

    Attributes:
        last_port: The port that an owner before this one had, or 0.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._identity = _system.identity_of(descriptor)
        text = os.pread(descriptor, 8, 0).strip()
        self.last_port = int(text) if text.isdigit() and int(text) <= 65535 else 0

    def note_port(self, port: int) -> None:
        """Note the port for the next owner, unless the program has closed the descriptor."""
        with contextlib.suppress(OSError):
            if _system.identity_of(self._descriptor) == self._identity:
                os.pwrite(self._descriptor, f"{port:<8}".encode(), 0)

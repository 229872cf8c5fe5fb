"""Writers that take what a descriptor accepts at once, and never block.

A container's stderr is a pipe. A write to it hangs forever if its reader has stalled. O_NONBLOCK
belongs to the open file, which other processes share. So a pipe or terminal is opened again through
/proc, which gives a separate open file. A write to a regular file never blocks. A socket has a flag
for each message. On Windows every write may block: nothing there tells whether it would.
"""

from __future__ import annotations

import os
import select
import socket
import stat
from collections.abc import Callable
from typing import Protocol

from logship import _system

_WRITE_BYTES_MAX = 64 * 1024


class Writer(Protocol):
    """Writes without blocking. It uses no globals, so that it works until the process's end.

    Attributes:
        descriptor: What it writes to.
    """

    descriptor: int

    def __call__(self, data: bytes) -> int:
        """Write from `data` what can be written now; return how many bytes that was."""


class DescriptorWriter:
    """Writes to a descriptor that does not block.

    Args:
        descriptor: What to write to.
        is_own: Whether it was opened for this writer, which then closes it.
    """

    def __init__(self, descriptor: int, *, is_own: bool) -> None:
        self.descriptor = descriptor
        self._is_own = is_own
        self._os_write = os.write

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close a descriptor that was opened here."""
        if self._is_own:
            close(self.descriptor)

    def __call__(self, data: bytes, piece_bytes: int = _WRITE_BYTES_MAX) -> int:
        """Write from `data` what can be written now; return how many bytes that was."""
        written = 0
        try:
            while written < len(data):
                written += self._os_write(self.descriptor, data[written : written + piece_bytes])
        except OSError:
            pass  # would block, closed or disk full: not now
        return written


class SocketWriter:
    """Writes to a socket, each message without blocking.

    Args:
        descriptor: The socket's; duplicated.
    """

    def __init__(self, descriptor: int) -> None:
        self._socket = socket.socket(fileno=os.dup(descriptor))
        self._flags = socket.MSG_DONTWAIT
        self.descriptor = self._socket.fileno()

    def __del__(self) -> None:
        """Close the duplicate."""
        self._socket.close()

    def __call__(self, data: bytes) -> int:
        """Send from `data` what can be sent now; return how many bytes that was."""
        try:
            return self._socket.send(data, self._flags)
        except OSError:
            return 0


class CautiousWriter:
    """Writes to a pipe that cannot be opened anew, and only as much as never blocks.

    Args:
        descriptor: The pipe's.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._poll = select.poll
        self._writable = select.POLLOUT
        self._piece_bytes = select.PIPE_BUF
        self._os_write = os.write

    def __call__(self, data: bytes) -> int:
        """Write from `data` in pieces of PIPE_BUF while poll says that one fits (pipe(7))."""
        written = 0
        poll = self._poll()
        try:
            poll.register(self.descriptor, self._writable)
            while written < len(data) and poll.poll(0):
                piece = data[written : written + self._piece_bytes]
                written += self._os_write(self.descriptor, piece)
        except OSError:
            pass
        return written


def nonblocking_writer(descriptor: int) -> Writer:
    """Return the writer for this kind of descriptor. To a closed one, each write fails."""
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return DescriptorWriter(descriptor, is_own=False)
    if stat.S_ISSOCK(mode):
        return SocketWriter(descriptor)
    if stat.S_ISREG(mode) or not _system.IS_POSIX:
        return DescriptorWriter(descriptor, is_own=False)
    try:
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        own = os.open(f"/proc/self/fd/{descriptor}", flags)
    except OSError:
        return CautiousWriter(descriptor)  # another user's pipe, or no /proc
    return DescriptorWriter(own, is_own=True)

"""What the operating system offers. Other modules ask here instead of trying names one by one.

logship is made for Linux. macOS offers nearly as much. Windows has no fork, no file locks that end
with their process, no unix sockets in Python, few signals, and no way to wait for a pipe.
"""

from __future__ import annotations

import contextlib
import os
import select
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

if sys.platform != "win32":
    import fcntl

NAME = {"darwin": "macOS", "linux": "Linux", "win32": "Windows"}.get(sys.platform, sys.platform)

IS_POSIX = sys.platform != "win32"
"""Whether there are forks, file locks, unix sockets, `poll`, and signals to a thread."""

_NUMBERS_MAX = 1024
"""The kernel keeps a table as long as the highest number. This is the usual limit of a process."""

_HIGH_NUMBERS = 64

# Flags of `os.open`, 0 where there is none. Windows has the first one alone, and changes the ends
# of lines without it.
O_BINARY: int = getattr(os, "O_BINARY", 0)
O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
O_DIRECTORY: int = getattr(os, "O_DIRECTORY", 0)
O_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)


def absolute(path: Path) -> Path:
    """Return a path that stays the same where the program changes its directory.

    A relative path in a directory that was removed is returned as it is: nothing can be made there.
    """
    try:
        return path.absolute()
    except OSError:
        return path


def open_standard_streams() -> None:
    """Open descriptors 0 to 2 where they are closed, so that nothing else gets their numbers.

    A pipe of `logship run` in their place would have the command read its own output, and a file
    would get warnings.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR | O_BINARY)) <= 2:
        os.set_inheritable(descriptor, True)
    os.close(descriptor)


def allocate(descriptor: int, size: int) -> None:
    """Give a new file its size, and its blocks if the system can reserve them.

    Raises:
        OSError: The volume is full, or cannot be written.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)


def sync_data(descriptor: int) -> None:
    """Write what is in a file to the disk.

    Raises:
        OSError: It cannot be done.
    """
    getattr(os, "fdatasync", os.fsync)(descriptor)


def wait_readable(descriptor: int, seconds: float) -> bool:
    """Wait at most so long until a socket or a pipe can be read; return whether it can be.

    `select` refuses numbers from 1,024 on, which a busy server has. Windows has nothing else.
    """
    seconds = max(0.0, seconds)
    if not hasattr(select, "poll"):
        return bool(select.select([descriptor], [], [], seconds)[0])
    return _wait_for(select.POLLIN, descriptor, seconds)


def wait_writable(descriptor: int, seconds: float) -> bool:
    """Wait at most so long until an open file takes bytes; return whether it does.

    Windows cannot tell, and a write waits by itself there. So it is always true.
    """
    return not IS_POSIX or _wait_for(select.POLLOUT, descriptor, max(0.0, seconds))


def _wait_for(event: int, descriptor: int, seconds: float) -> bool:
    poll = select.poll()
    poll.register(descriptor, event)
    return bool(poll.poll(seconds * 1000))


def moved_up(descriptor: int) -> int:
    """Give an open file a high number, and return that.

    A daemon closes all descriptors, and the files that it opens next get the lowest numbers.
    """
    if not IS_POSIX:
        return descriptor
    lowest = min(os.sysconf("SC_OPEN_MAX"), _NUMBERS_MAX) - _HIGH_NUMBERS
    try:
        moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, max(lowest, 0))
    except OSError:  # all of these are taken
        return descriptor
    os.close(descriptor)
    return moved


def make_room_for_high_numbers() -> None:
    """Have the kernel lengthen its table of open files for `moved_up`, before threads run.

    In a process of several threads Linux waits some 12 ms for that.
    """
    with contextlib.suppress(OSError):
        os.close(moved_up(os.open(os.devnull, os.O_RDONLY | O_BINARY)))


FileIdentity = tuple[int, int]
"""The device and the inode of an open file. A daemon closes all descriptors, and their numbers then
stand for its own files."""


def identity_of(descriptor: int) -> FileIdentity:
    """Return what tells an open file from all others; raise `OSError` if it is closed."""
    found = os.fstat(descriptor)
    return found.st_dev, found.st_ino


def replace_own(descriptor: int, identity: FileIdentity, by: int) -> None:
    """Have a descriptor stand for another open file, unless it is closed or does so by now."""
    with contextlib.suppress(OSError):
        if identity_of(descriptor) == identity:
            os.dup2(by, descriptor, inheritable=False)


def close_own(descriptor: int, identity: FileIdentity) -> None:
    """Close a descriptor, unless it is closed or stands for another file by now."""
    with contextlib.suppress(OSError):
        if identity_of(descriptor) == identity:
            os.close(descriptor)

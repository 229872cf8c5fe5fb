"""What the operating system offers. Other modules ask here instead of trying names one by one.

logship is made for Linux. macOS offers nearly as much. Windows has no fork, no file locks that end
with their process, no unix sockets in Python, few signals, and no way to wait for a pipe.
"""

from __future__ import annotations

import os
import sys

NAME = {"darwin": "macOS", "linux": "Linux", "win32": "Windows"}.get(sys.platform, sys.platform)

IS_POSIX = sys.platform != "win32"
"""Whether there are forks, file locks, unix sockets, `poll`, and signals to a thread."""

# Flags of `os.open`, 0 where there is none. Windows has the first one alone, and changes the ends
# of lines without it.
O_BINARY: int = getattr(os, "O_BINARY", 0)
O_CLOEXEC: int = getattr(os, "O_CLOEXEC", 0)
O_DIRECTORY: int = getattr(os, "O_DIRECTORY", 0)
O_NOFOLLOW: int = getattr(os, "O_NOFOLLOW", 0)
O_NONBLOCK: int = getattr(os, "O_NONBLOCK", 0)


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

"""Wakes the watchdog's thread: from other threads, from signal handlers, from the handler in C.

The handler in C writes a signal's number at once. Python's handlers run between bytecodes, so not
while the main thread is in a C call. A pair of sockets carries the numbers, because Windows
waits for nothing else.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterable

from logship import _system
from logship._hooks.dispositions import set_wakeup_descriptor


class SelfPipe:
    """The numbers of signals on their way to a thread.

    Raises:
        OSError: There are no descriptors for it.
    """

    def __init__(self) -> None:
        self._sockets: tuple[socket.socket, ...] = ()  # where there are none, `__del__` closes none
        self._reading, writing = socket.socketpair()
        self._writing = socket.socket(fileno=_system.moved_up(writing.detach()))
        self._sockets = self._reading, self._writing
        for each in self._sockets:
            each.setblocking(False)
        self._identities = _identities(self._sockets)

    def __del__(self) -> None:
        """Close the sockets without a warning: a daemon thread has them to the process's end."""
        for each in self._sockets:
            each.close()

    @property
    def is_lost(self) -> bool:
        """Whether the program has closed the sockets, so that their numbers are its own."""
        return _identities(self._sockets) != self._identities

    def close(self) -> None:
        """Close them, and have no signal write to them: a child's must not wake its parent."""
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and _wakeup_descriptor() == self._writing.fileno() != -1:
            set_wakeup_descriptor(-1)
        is_lost = self.is_lost
        for each in self._sockets:
            if is_lost:
                each.detach()
            each.close()
        self._sockets = ()

    def listen_for_signals(self) -> None:
        """Let the handler in C write here, if no other code uses that; in the main thread."""
        if _wakeup_descriptor() == -1:
            set_wakeup_descriptor(self._writing.fileno(), warn_on_full_buffer=False)

    @property
    def number(self) -> int:
        """The descriptor that the handler in C writes to."""
        return self._writing.fileno()

    def is_alone(self) -> bool:
        """Return whether the handler in C tells no other code of signals; in the main thread."""
        return _wakeup_descriptor() in (-1, self._writing.fileno())

    def wake(self, signum: int) -> None:
        """Wake the thread with a signal's number, or with 0; from a signal handler too."""
        # Full: the thread is awake. Closed: this is a child without a watchdog.
        with contextlib.suppress(OSError):
            if not self.is_lost:
                self._writing.send(bytes([signum]))

    def wait(self, seconds: float) -> bytes:
        """Wait at most so long; return the numbers that have come."""
        _system.wait_readable(self._reading.fileno(), seconds)
        with contextlib.suppress(BlockingIOError):
            return b"" if self.is_lost else self._reading.recv(4096)
        return b""


def _identities(sockets: Iterable[socket.socket]) -> list[_system.FileIdentity]:
    """Return what tells sockets from all other files; empty on Windows, or if one is closed."""
    with contextlib.suppress(OSError):
        return [_system.identity_of(each.fileno()) for each in sockets]
    return []


def _wakeup_descriptor() -> int:
    """Return where the handler in C writes the numbers of signals, or -1; in the main thread."""
    current = set_wakeup_descriptor(-1)
    if current != -1:
        with contextlib.suppress(OSError, ValueError):  # it is closed
            set_wakeup_descriptor(current, warn_on_full_buffer=False)
    return current

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
    """The numbers of signals on their way to a thread; closed when made."""

    def __init__(self) -> None:
        self._sockets: tuple[socket.socket, ...] = ()  # the one to read from, the one to write to
        self._identities: list[_system.FileIdentity] = []

    def __del__(self) -> None:
        """Close the sockets without a warning: a daemon thread has them to the process's end."""
        for each in self._sockets:
            each.close()

    def open(self) -> None:
        """Make the sockets anew.

        Raises:
            OSError: There are no descriptors for them.
        """
        self.close()
        reading, writing = socket.socketpair()
        pair = reading, socket.socket(fileno=_system.moved_up(writing.detach()))
        for each in pair:
            each.setblocking(False)
        self._identities = _identities(pair)
        self._sockets = pair

    @property
    def is_open(self) -> bool:
        """Whether it has sockets, whose numbers do not stand for files of the program by now."""
        return bool(self._sockets) and _identities(self._sockets) == self._identities

    def close(self) -> None:
        """Close them, and have no signal write to them: a child's must not wake its parent."""
        number, sockets, is_open = self._number, self._sockets, self.is_open
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and number != -1 and _wakeup_descriptor() == number:
            set_wakeup_descriptor(-1)
        self._sockets = ()
        for each in sockets:
            if not is_open:
                each.detach()
            each.close()

    def listen_for_signals(self) -> None:
        """Let the handler in C write here, if no other code uses that; in the main thread."""
        if self.is_open and _wakeup_descriptor() == -1:
            set_wakeup_descriptor(self._number, warn_on_full_buffer=False)

    def set_wakeup_fd(self, fd: int, /, *, warn_on_full_buffer: bool = True) -> int:
        """Do what `signal.set_wakeup_fd` does, but listen for signals where no other code does.

        An event loop sets -1 once it handles no signal any more, and so does the fork server of
        multiprocessing in each child.
        """
        before = set_wakeup_descriptor(fd, warn_on_full_buffer=warn_on_full_buffer)
        if fd == -1:
            self.listen_for_signals()
        return -1 if before == self._number else before

    def is_told_alone(self) -> bool:
        """Return whether the handler in C tells no other code of signals; in the main thread.

        An event loop would take a signal that is sent once more for a second one.
        """
        number = self._number
        return number != -1 and _wakeup_descriptor() in (-1, number)

    def wake(self, signum: int = 0) -> None:
        """Wake the thread with a signal's number, or with 0; from a signal handler too."""
        # Full: the thread is awake. Closed: this is a child without a watchdog.
        with contextlib.suppress(OSError, IndexError):
            if self.is_open:
                self._sockets[1].send(bytes([signum]))

    def wait(self, seconds: float) -> bytes:
        """Wait at most so long; return the numbers that have come."""
        reading, _ = self._sockets
        _system.wait_readable(reading.fileno(), seconds)
        with contextlib.suppress(BlockingIOError):
            return reading.recv(4096) if self.is_open else b""
        return b""

    @property
    def _number(self) -> int:
        """The descriptor that the handler in C writes to; -1 if there is none."""
        sockets = self._sockets  # another thread may close them
        return sockets[1].fileno() if sockets else -1


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

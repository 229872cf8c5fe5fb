"""Where the receiver's lines go: a file that only grows, or standard output.

`write` returns when the operating system has every byte, and raises otherwise: what follows it
is an acknowledgement.
"""

from __future__ import annotations

import os
import select
import stat
import sys
from collections.abc import Callable
from pathlib import Path

from logship import _system
from logship.errors import LogshipError

FILE_MODE = 0o640
"""Of a new file, but for the bits of the process's umask."""

STALL_SECONDS = 1.0
"""How often a write that waits for the output's reader looks whether the receiver stops."""


class OutputError(LogshipError):
    """The output took not all of the bytes; the text names it and says why."""


class OutputGone(OutputError):  # noqa: N818 - a state: the reader of the output is gone
    """The reader of the output has gone: nothing can be written ever again."""


class LineSink:
    """Appends lines to a file descriptor.

    Where the output ends in the middle of a line, as after a kill or a full disk, the next write
    begins a new line, so that one torn line costs no other.

    Args:
        descriptor: open for writing.
        name: what to call it in errors.
        path: of the file, where it is one that may be moved away.

    Attributes:
        path: as given.
    """

    def __init__(self, descriptor: int, name: str, path: Path | None = None) -> None:
        self._name = name
        self.path = path
        self._begin(descriptor)
        self._had_name = bool(os.fstat(descriptor).st_nlink)

    @classmethod
    def open(cls, path: Path) -> LineSink:
        """Open a file for appending, made where it is missing; what it holds is kept.

        Raises:
            OutputError: it cannot be opened for writing.
        """
        descriptor = _opened(path)
        is_file = stat.S_ISREG(os.fstat(descriptor).st_mode)  # a FIFO may have no reader next time
        return cls(descriptor, str(path), path if is_file else None)

    @classmethod
    def stdout(cls) -> LineSink:
        """Write to standard output.

        Raises:
            OutputError: the process was started without one.
        """
        if sys.stdout is None:
            raise OutputError("cannot write to standard output: it is closed")
        return cls(sys.stdout.fileno(), "standard output")

    def _begin(self, descriptor: int) -> None:
        """Write to this descriptor from now on."""
        self._descriptor = descriptor
        self._torn = _is_torn(descriptor, self.path)
        self._room = _poll_for_room(descriptor)
        self._size = os.fstat(descriptor).st_size

    def write(self, lines: bytes, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Write whole lines; return when the operating system has all of them.

        A pipe or a terminal that has no room is waited for.

        Args:
            lines: a newline behind each.
            is_stopping: whether to give up where the output's reader takes nothing.

        Raises:
            OutputGone: it is a pipe without a reader, or a terminal that is gone.
            OutputError: it took a part or nothing, for instance because the disk is full.
        """
        if not lines:
            return
        try:
            self._look()
            data = memoryview(b"\n" + lines if self._torn else lines)
            while data:
                data = data[self._write_some(data, is_stopping) :]
        except BrokenPipeError as error:
            raise OutputGone(f"the reader of {self._name} is gone") from error
        except OSError as error:
            raise OutputError(f"cannot write to {self._name}: {error.strerror}") from error

    def _look(self) -> None:
        """See what others did to the file since the last write.

        Where they removed it, another one is made: what is written to a file without a name is
        lost. Where they wrote to it or cut it, it may end in the middle of a line.

        Raises:
            OutputError: it was removed, and none can be made in its place.
        """
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            return
        if self._had_name and not status.st_nlink:
            if self.path is not None:
                self.reopen()
            if not os.fstat(self._descriptor).st_nlink:
                raise OutputError(f"cannot write to {self._name}: the file was removed")
        elif status.st_size != self._size:
            self._torn = _is_torn(self._descriptor)
            self._size = status.st_size

    def _write_some(self, data: memoryview, is_stopping: Callable[[], bool]) -> int:
        """Write the beginning of `data`; return how many bytes the system took."""
        while not self._has_room(STALL_SECONDS):
            if is_stopping():
                raise OutputError(f"cannot write to {self._name}: its reader takes nothing")
        if self._room is not None:
            # Poll promises room for so much in a pipe (pipe(7)), and for a byte in a terminal,
            # where a signal ends a longer write. None comes behind that which ends the receiver.
            is_last = is_stopping() and os.isatty(self._descriptor)
            data = data[: 1 if is_last else select.PIPE_BUF]
        try:
            written = os.write(self._descriptor, data)
        except BlockingIOError:  # another program writes there too, and was faster
            return 0
        self._torn = data[written - 1] != ord("\n")
        self._size += written
        return written

    def _has_room(self, seconds: float) -> bool:
        """Wait for room in a pipe or a terminal; tell whether there is some."""
        if self._room is None:
            return True
        events = self._room.poll(seconds * 1000)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in events):
            raise OutputGone(f"the reader of {self._name} is gone")
        return bool(events)

    def reopen(self) -> None:
        """Open the file anew under its name, because the one that had it was moved away.

        Raises:
            OutputGone: it is no file, but a pipe or a terminal that is gone.
            OutputError: that is not possible; the old one is kept.
        """
        if self.path is None:
            self._has_room(0)
            return
        old = self._descriptor
        # Under its name there may be a FIFO by now, where opening waits for a reader.
        self._begin(_opened(self.path, _system.O_NONBLOCK))
        os.close(old)


def _opened(path: Path, more_flags: int = 0) -> int:
    """Open a file for appending."""
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | _system.O_BINARY | more_flags
    try:
        return os.open(path, flags, FILE_MODE)
    except OSError as error:
        raise OutputError(f"cannot open {path} for writing: {error.strerror}") from error


def _is_torn(descriptor: int, path: Path | None = None) -> bool:
    """Tell whether a file ends in the middle of a line; nothing else than a file does.

    A file that cannot be read counts as torn: an empty line costs less than a record.
    """
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        return False
    try:
        with (path or Path(f"/dev/fd/{descriptor}")).open("rb") as file:
            file.seek(-1, os.SEEK_END)
            return file.read(1) != b"\n"
    except OSError:
        return True


def _poll_for_room(descriptor: int) -> select.poll | None:
    """Return what waits for room in a pipe, a socket or a terminal; None where no write waits.

    None too on a system without `poll`.
    """
    mode = os.fstat(descriptor).st_mode
    waits = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)
    if not waits or not hasattr(select, "poll"):
        return None
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return poll

"""Writers that take what a descriptor accepts at once, and never block.

A container's stderr is a pipe. A write to it hangs forever if its reader has stalled. O_NONBLOCK
belongs to the open file, which other processes share. So a pipe or terminal is opened again through
/proc, which gives a separate open file. A pipe of another user cannot be opened again: it is
written with care. A socket has a flag for each message. A write to a regular file never blocks. On
Windows every write may block: nothing there tells whether it would.

A program may redirect its stderr by `dup2` while logship runs. A writer that has opened its file
again still has the old one then; any other writer has none. Where no bytes are taken any more,
`writer_elsewhere` returns a writer for the new file.
"""

from __future__ import annotations

import errno
import os
import select
import signal
import socket
import stat
import sys
import time
from collections.abc import Callable

from logship import _system
from logship._hooks.dispositions import get_handler

if _system.IS_POSIX:
    import fcntl

_WRITE_BYTES_MAX = 64 * 1024

_WHOLE_BYTES_MAX = getattr(select, "PIPE_BUF", 512)
"""A pipe takes all of a write of so many bytes or nothing (pipe(7)), so no line of another process
gets into the middle of such a line. `PipeWriter` keeps it out of a longer line too."""

_TURN_SECONDS_MAX = 1.0
"""How long a writer waits for its turn while the pipe has room. A process at work fills the pipe
within milliseconds."""

_MESSAGE_BYTES_MAX = 128 * 1024
"""All lines of a write fit into one message to a socket, unless the last is long. By default Linux
takes no message of more than 208 KiB."""

_FINAL = frozenset({errno.EBADF, errno.EFBIG, errno.EIO, errno.EPIPE})
"""The errors of what will never take bytes: the descriptor is closed, the file is as long as the
process may write one, the terminal is gone, or no process reads the pipe."""

_UNKNOWN_FLAG = frozenset({errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM, errno.EINVAL, errno.ESPIPE})
"""The errors of a kernel, or of a filter of system calls, that does not know a write's flag."""

_TAKEN = -2
"""The descriptor of a writer that has no file, or whose file the application has closed: its number
may stand for another file by now, even for what stderr is."""


class Writer:
    """Writes without blocking.

    Args:
        descriptor: What to write to; -1 for none.
        write: Writes a piece without blocking; by default `os.write`.
        lines_bytes: So many bytes of lines are written at once. A longer line is written in parts.
        is_own: Whether the descriptor was opened for this writer, which then closes it.
        may_recover: Whether an input/output error may pass, as one of a volume.
    """

    def __init__(
        self,
        descriptor: int,
        write: Callable[[int, bytes], int] | None = None,
        lines_bytes: int = _WRITE_BYTES_MAX,
        *,
        is_own: bool = False,
        may_recover: bool = False,
    ) -> None:
        self.descriptor = descriptor
        self._check = _check_of(descriptor)
        self._is_own = is_own
        self._lines_bytes = lines_bytes
        self._write = write or os.write
        self._final = _FINAL - {errno.EIO} if may_recover else _FINAL

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close a descriptor that was opened here; without globals, which may be gone by then."""
        try:
            self._check()
            if self._is_own:
                close(self.descriptor)
        except OSError:
            pass  # the application has closed it

    def __call__(self, data: bytes) -> int:
        """Write from `data` what can be written now; return how many bytes that was.

        Raises:
            OSError: It took none, and will never take any.
        """
        written = 0
        try:
            self._check()
            while written < len(data):
                written += self._put(data[written : self._end_of_piece(data, written)])
        except BlockingIOError:
            pass  # not now
        except OSError as error:  # a full disk's too: not now
            if error.errno is None:
                raise  # the system gives a number: a signal handler's own, such as TimeoutError
            if error.errno == errno.EBADF and self.descriptor != -1:
                self.descriptor = _TAKEN
            if not written and error.errno in self._final:
                raise
        return written

    def _put(self, piece: bytes) -> int:
        """Write from `piece` what can be written now; return how many bytes."""
        return _without_sigpipe(self._write, self.descriptor, piece)

    def _end_of_piece(self, data: bytes, start: int) -> int:
        """Return the end of the last line that fits, or of the first one if that is longer."""
        lines_end = data.rfind(b"\n", start, start + self._lines_bytes) + 1
        line_end = data.find(b"\n", start, start + _WRITE_BYTES_MAX) + 1
        return lines_end or line_end or start + _WRITE_BYTES_MAX


class PipeWriter(Writer):
    """Writes to a pipe that other processes write to, in turns with the logship in these.

    The pipe takes a long line in parts. So a process locks the pipe until its long line is over,
    and any number of processes may write short lines at the same time. A process that dies lets go.

    Args:
        descriptor: Opened for this writer alone: a lock belongs to an open file, which a forked
            child shares.
        monotonic: Seconds.
    """

    def __init__(self, descriptor: int, monotonic: Callable[[], float] = time.monotonic) -> None:
        super().__init__(descriptor, lines_bytes=_WHOLE_BYTES_MAX, is_own=True)
        self._monotonic = monotonic
        self._has_turn = False  # from the beginning of a long line to its end
        self._waits_since: float | None = None
        self._goes_without = False  # until the process that has the turn lets go

    def _put(self, piece: bytes) -> int:
        written = 0
        self._take_turn(fcntl.LOCK_EX if len(piece) > self._lines_bytes else fcntl.LOCK_SH)
        try:
            written = super()._put(piece)
        finally:
            if written:
                self._has_turn = not piece.endswith(b"\n", 0, written)
            if not self._has_turn:
                self._try_lock(fcntl.LOCK_UN)
        return written

    def _take_turn(self, kind: int) -> None:
        """Lock the pipe, or go on without a lock after a while.

        Raises:
            BlockingIOError: Another process has the turn.
        """
        if self._has_turn or self._try_lock(kind):
            self._waits_since, self._goes_without = None, False
            return
        now = self._monotonic()
        if self._waits_since is None or not _system.wait_writable(self.descriptor, 0.0):
            self._waits_since = now
        self._goes_without = self._goes_without or now - self._waits_since >= _TURN_SECONDS_MAX
        if not self._goes_without:
            raise BlockingIOError

    def _try_lock(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        except OSError as error:  # a system that locks no pipe
            if error.errno is None:
                raise  # a signal handler's own
        return True


class SocketWriter(Writer):
    """Sends to a socket, by a duplicate of its descriptor, each message without blocking."""

    def __init__(self, descriptor: int) -> None:
        blocks = os.get_blocking(descriptor)
        self._socket = socket.socket(fileno=descriptor)
        if self._socket.gettimeout() is not None:  # a default of the application: each write waits
            self._socket.settimeout(None)
            os.set_blocking(descriptor, blocks)  # it belongs to the open file
        send, flags = self._socket.send, socket.MSG_DONTWAIT | getattr(socket, "MSG_NOSIGNAL", 0)
        super().__init__(
            descriptor, lambda _, data: send(data, flags), _MESSAGE_BYTES_MAX, is_own=True
        )

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close the duplicate, if it is still that."""
        self._socket.detach()
        super().__del__(close)


def has_stderr() -> bool:
    """Return whether 2 is stderr, and not a file that was opened after stderr was closed.

    Such a file is one that no child inherits, as in `writer_elsewhere`.
    """
    if sys.__stderr__ is None or not _system.IS_POSIX:
        return sys.__stderr__ is not None
    try:
        return os.get_inheritable(2)
    except OSError:
        return False


def nonblocking_writer(descriptor: int) -> Writer:
    """Return the writer for this kind of descriptor. To a closed one, each write fails.

    That stays so: the application may open any file of its own as this descriptor.
    """
    try:
        mode = os.fstat(descriptor).st_mode
    except OSError:
        return Writer(-1)
    if stat.S_ISREG(mode) or not _system.IS_POSIX:
        return Writer(descriptor, may_recover=True)
    flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
    try:
        if stat.S_ISSOCK(mode):
            return SocketWriter(os.dup(descriptor))
        again = os.open(f"/proc/self/fd/{descriptor}", flags)
        if stat.S_ISFIFO(mode):
            return PipeWriter(again)
        return Writer(again, lines_bytes=_WHOLE_BYTES_MAX, is_own=True)
    except OSError:  # another user's pipe, no /proc, or no descriptors
        return Writer(descriptor, _write_with_care, _WHOLE_BYTES_MAX)


def unopened_writer() -> Writer:
    """Return a writer that writes nothing, and in whose place `writer_elsewhere` opens another."""
    return Writer(_TAKEN)


def writer_elsewhere(writer: Writer, descriptor: int) -> Writer | None:
    """Return a writer for what a descriptor is now; None if `writer` has that open already.

    A descriptor that no child inherits is not taken for a redirected stderr. If the application
    closes 2, the next file that Python opens becomes 2, and it is such a descriptor.
    """
    try:
        may_be_stderr = writer.descriptor != -1 and os.get_inheritable(descriptor)
        if may_be_stderr and not _is_same(writer.descriptor, descriptor):
            return nonblocking_writer(descriptor)
    except OSError:
        pass  # it is closed, or this process may have no more descriptors
    return None


def _is_same(old: int, new: int) -> bool:
    """Return whether two descriptors are one file; False if the old one is closed."""
    try:
        return os.path.sameopenfile(old, new)
    except OSError:
        return False


def _check_of(descriptor: int) -> Callable[[], None]:
    """Return a function that raises if a descriptor is another file by now; no check of none.

    It may be a file of the application, or one where a write blocks. `Writer.__del__` calls the
    function when globals may be gone.
    """
    fstat, closed = os.fstat, errno.EBADF
    if descriptor < 0:
        return lambda: None  # each write fails anyway
    opened = fstat(descriptor)
    identity = opened.st_dev, opened.st_ino

    def check() -> None:
        found = fstat(descriptor)
        if (found.st_dev, found.st_ino) != identity:
            raise OSError(closed, "the application has closed it")

    return check


def _write_with_care(descriptor: int, data: bytes) -> int:
    """Do what `os.write` does for a descriptor that blocks, with at most PIPE_BUF bytes.

    Since Linux 6.4 a flag keeps a write to a pipe from blocking. Elsewhere so many bytes fit where
    poll finds room (pipe(7)). Then a write blocks all the same if another process fills the pipe
    between the two.
    """
    data, flag = data[:_WHOLE_BYTES_MAX], getattr(os, "RWF_NOWAIT", 0)
    try:
        if flag:
            return os.pwritev(descriptor, [data], -1, flag)
    except OSError as error:
        if error.errno not in _UNKNOWN_FLAG:
            raise
    if not _system.wait_writable(descriptor, 0.0):
        raise BlockingIOError
    return os.write(descriptor, data)


def _without_sigpipe(write: Callable[[int, bytes], int], descriptor: int, data: bytes) -> int:
    """Call `write`, which must not send this process a SIGPIPE.

    Python ignores the signal, but command line tools often restore its default, which ends the
    process. Linux sends it to the thread that writes. So that thread blocks the signal and takes it
    from its own queue. Where no call takes a signal without waiting, as on macOS, nothing is done.
    """
    if not hasattr(signal, "sigtimedwait") or get_handler(signal.SIGPIPE) is signal.SIG_IGN:
        return write(descriptor, data)
    sigpipe = {signal.SIGPIPE}
    if sigpipe <= signal.pthread_sigmask(signal.SIG_BLOCK, ()):
        return write(descriptor, data)
    try:
        signal.pthread_sigmask(signal.SIG_BLOCK, sigpipe)
        return write(descriptor, data)
    except BrokenPipeError:
        signal.sigtimedwait(sigpipe, 0)
        raise
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, sigpipe)

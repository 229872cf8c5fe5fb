"""The command's output, passed on unchanged to the output of `run`.

Writes do not wait, because the reader may have stopped. Bytes that are not taken at once are kept,
and `run` reads no more from the command until they are taken. Without `run` the command would wait
in the same way. If the reader closes its end, it gets nothing more, and shipping continues.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat

_WRITE_BYTES_MAX = 64 * 1024


class Tee:
    """An output stream of `run`.

    Args:
        descriptor: 1 or 2.
    """

    def __init__(self, descriptor: int) -> None:
        self._rest = b""
        self._is_gone = False
        self.descriptor, self._pieces_bytes_max = _reopened(descriptor)

    @property
    def waits(self) -> bool:
        """Whether bytes are left to be written."""
        return bool(self._rest)

    def put(self, data: bytes) -> None:
        """Write as much as is taken now, and keep the rest."""
        if not self._is_gone:
            self._rest += data
            self.push()

    def push(self) -> None:
        """Write as much of the rest as is taken now."""
        view = memoryview(self._rest)
        try:
            while view and self._takes_more():
                view = view[os.write(self.descriptor, view[: self._pieces_bytes_max]) :]
        except BlockingIOError:
            pass
        except OSError:  # closed, or a full disk: the records matter more
            self.give_up()
            return
        self._rest = bytes(view)

    def give_up(self) -> int:
        """Take no more bytes, and drop the rest; return how many bytes that was."""
        left = len(self._rest)
        self._is_gone, self._rest = True, b""
        return left

    def _takes_more(self) -> bool:
        """Poll first, if a write could wait."""
        if self._pieces_bytes_max > select.PIPE_BUF:
            return True
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        return bool(poll.poll(0))


def _reopened(descriptor: int) -> tuple[int, int]:
    """Return a descriptor whose writes do not wait, and how many bytes one of them may have.

    O_NONBLOCK belongs to the open file, which other processes share, so a pipe or terminal is
    opened again. If that fails, poll(2) promises room for PIPE_BUF bytes (pipe(7)).
    """
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor, _WRITE_BYTES_MAX  # never waits
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{descriptor}", flags), _WRITE_BYTES_MAX
    return descriptor, select.PIPE_BUF

"""What the command writes, passed on unchanged to where we ourselves may write.

Without waiting, because the reader there may have stopped. What is not taken at once is kept,
and nothing more is read from the command until it is: that is what the command would have seen
without us. A reader that closes the other end gets nothing more, and the records go on.
"""

from __future__ import annotations

import contextlib
import os
import select
import stat

_WRITE_BYTES_MAX = 64 * 1024


class Tee:
    """One of our own output streams.

    Args:
        descriptor: 1 or 2.

    Attributes:
        is_gone: Whether it takes nothing more, for good.
    """

    def __init__(self, descriptor: int) -> None:
        self._rest = b""
        self.is_gone = False
        self.descriptor, self._pieces_bytes_max = _reopened(descriptor)

    @property
    def waits(self) -> bool:
        """Whether something is left to be written."""
        return bool(self._rest)

    @property
    def bytes_left(self) -> int:
        """How much that is."""
        return len(self._rest)

    def put(self, data: bytes) -> None:
        """Write as much as is taken now, and keep the rest."""
        if not self.is_gone:
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

    def give_up(self) -> None:
        """Take nothing more, and forget the rest."""
        self.is_gone, self._rest = True, b""

    def _takes_more(self) -> bool:
        """Ask, where a write could wait."""
        if self._pieces_bytes_max > select.PIPE_BUF:
            return True
        poll = select.poll()
        poll.register(self.descriptor, select.POLLOUT)
        return bool(poll.poll(0))


def _reopened(descriptor: int) -> tuple[int, int]:
    """Return a descriptor whose writes do not wait, and how many bytes one of them may have.

    O_NONBLOCK belongs to the open file, which others share, so a pipe or terminal is opened anew.
    Where that cannot be done, poll(2) promises room for PIPE_BUF bytes (pipe(7)).
    """
    with contextlib.suppress(OSError):
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            return descriptor, _WRITE_BYTES_MAX  # never waits
        flags = os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
        return os.open(f"/proc/self/fd/{descriptor}", flags), _WRITE_BYTES_MAX
    return descriptor, select.PIPE_BUF

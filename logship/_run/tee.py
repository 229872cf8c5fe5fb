"""The command's output, passed on unchanged to the output of `run`.

Writes do not wait, because the reader may have stopped. Bytes that are not taken at once are kept,
and `run` reads no more from the command until they are taken. Without `run` the command would wait
in the same way. If the reader closes its end, it gets nothing more, and shipping continues.
"""

from __future__ import annotations

import os
import stat

from logship._stderr.writers import nonblocking_writer


class Tee:
    """An output stream of `run`, by its descriptor: 1 or 2."""

    def __init__(self, descriptor: int) -> None:
        self._rest = b""
        self._is_gone = False
        self._writer = nonblocking_writer(descriptor)
        mode = os.fstat(descriptor).st_mode
        self._may_wait = stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) or os.isatty(descriptor)

    @property
    def descriptor(self) -> int:
        """What can be polled for space."""
        return self._writer.descriptor

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
        try:
            self._rest = self._rest[self._writer(self._rest) :]
        except OSError:  # closed
            self.give_up()
        if self._rest and not self._may_wait:  # a full disk: the records matter more
            self.give_up()

    def give_up(self) -> int:
        """Take no more bytes, and drop the rest; return how many bytes that was."""
        left = len(self._rest)
        self._is_gone, self._rest = True, b""
        return left

"""A small pipe in the place of standard error, which the test reads when it likes."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable

from logship._stderr.last_resort import LastResort

PIPE_BYTES = 4096
LINE = b"x" * 99 + b"\n"


class Pipe:
    """A small pipe that the test reads when it likes."""

    def __init__(self) -> None:
        self.reading, self.writing = os.pipe()
        fcntl.fcntl(self.writing, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def fill(self) -> int:
        """Fill it to the last byte; return how many bytes that took."""
        os.set_blocking(self.writing, False)
        count = 0
        try:
            while True:
                count += os.write(self.writing, b"#")
        except BlockingIOError:
            os.set_blocking(self.writing, True)
        return count

    def read(self, count: int = 1 << 20) -> bytes:
        os.set_blocking(self.reading, False)
        try:
            return os.read(self.reading, count)
        except BlockingIOError:
            return b""

    def close(self) -> None:
        for descriptor in (self.reading, self.writing):
            os.close(descriptor)


class Interposed:
    """Makes a call before each write of a last resort, as an interruption would."""

    def __init__(self, resort: LastResort, call: Callable[[], object]) -> None:
        self.write = resort._write
        self.descriptor = self.write.descriptor
        self._call = call
        resort._write = self  # type: ignore[assignment]

    def __call__(self, data: bytes) -> int:
        self._call()
        return self.write(data)

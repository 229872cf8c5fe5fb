"""One pipe of the command: bytes come in, records come out.

While records of the last read wait for space in the buffer, no more bytes are read. Then the pipe
fills, and the command waits.
"""

from __future__ import annotations

import os
import time
from collections import deque
from typing import Any, NamedTuple

from logship.run.lines import LineSplitter, record_of_line
from logship.run.multiline import LineJoiner
from logship.run.tee import Tee

_READ_BYTES = 128 * 1024


class Read(NamedTuple):
    """A record that was read.

    Attributes:
        time_ns: When it was read, nanoseconds since the epoch. It may have to wait for space.
        record: The record.
    """

    time_ns: int
    record: dict[str, Any]


class Inlet:
    """One pipe.

    Args:
        descriptor: Its reading end, which does not block; this object closes it.
        source: `stdout` or `stderr`, for records that are no JSON objects.
        message_key: The field for the text of those.
        joiner: Joins lines, or None.
        tee: Gets the bytes too, or None.

    Attributes:
        records: Records that were read and are not in the buffer.
        has_ended: Whether all writers have closed it.
    """

    def __init__(
        self,
        descriptor: int,
        source: str,
        *,
        message_key: str,
        joiner: LineJoiner | None,
        tee: Tee | None,
    ) -> None:
        self.descriptor = descriptor
        self.source = source
        self.tee = tee
        self.records: deque[Read] = deque()
        self.has_ended = False
        self._message_key = message_key
        self._joiner = joiner
        self._splitter = LineSplitter()

    @property
    def wants_bytes(self) -> bool:
        """Whether the next bytes can be taken."""
        return not (self.has_ended or self.records or self.tee_waits)

    @property
    def tee_waits(self) -> bool:
        """Whether bytes must be passed on first."""
        return self.tee is not None and self.tee.waits

    def read(self, now_seconds: float) -> bool:
        """Read the available bytes; return whether there were any."""
        try:
            data = os.read(self.descriptor, _READ_BYTES)
        except BlockingIOError:
            return False
        if not data:
            self.end()
            return False
        if self.tee is not None:
            self.tee.put(data)
        self._take(self._splitter.feed(data), now_seconds)
        return True

    def end(self) -> None:
        """Stop reading; take the last line without a line end, and the record that is held."""
        if self.has_ended:
            return
        self.has_ended = True
        os.close(self.descriptor)
        self._take(self._splitter.finish(), 0.0)
        if self._joiner is not None:
            self._keep(self._joiner.finish())

    def flush_due(self, now_seconds: float) -> None:
        """Take a record that has been held for more lines long enough."""
        if self._joiner is not None:
            self._keep(self._joiner.flush_due(now_seconds))

    def due_seconds(self) -> float | None:
        """Return when `flush_due` will take a record, monotonic; None if never."""
        return None if self._joiner is None else self._joiner.due_seconds()

    def _take(self, lines: list[bytes], now_seconds: float) -> None:
        if self._joiner is not None and lines:
            lines = self._joiner.feed(lines, now_seconds)
        self._keep(lines)

    def _keep(self, lines: list[bytes]) -> None:
        now_ns = time.time_ns()
        for line in lines:
            record = record_of_line(line, self.source, self._message_key)
            self.records.append(Read(now_ns, record))

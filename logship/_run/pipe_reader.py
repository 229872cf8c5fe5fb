"""The pipes of the command: bytes come in, records come out.

While records of the last read wait for space in the buffer, no more bytes are read. Then the pipe
fills, and the command waits.

The kernel does not note when bytes were written to a pipe. It only shows which pipe became readable
first. So reads are small and the pipes take turns, and a line's time is the time of its read.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import time
from collections import deque
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from logship._run.lines import Line, LineSplitter, record_of_line
from logship._run.multiline import LineJoiner
from logship._run.tee import Tee

READ_BYTES = 8 * 1024
"""The most that one read takes. So much of one pipe may come before what the other got earlier."""


class PipeReader:
    """One pipe.

    Args:
        descriptor: Its reading end, which does not block; this object closes it.
        source: `stdout` or `stderr`, for records that are not JSON objects.
        message_key: The field for the text of those.
        tee: Gets the bytes too.

    Attributes:
        lines: Lines that were read and are not in the buffer. Each has the time of its read. Of the
            lines of one read the last one has that time, and each line before it one nanosecond
            less.
        has_ended: Whether all writers have closed it.
    """

    def __init__(
        self,
        descriptor: int,
        source: str,
        *,
        message_key: str,
        joiner: LineJoiner | None = None,
        tee: Tee | None = None,
    ) -> None:
        self.descriptor = descriptor
        self.source = source
        self.tee = tee
        self.lines: deque[Line] = deque()
        self.has_ended = False
        self._message_key = message_key
        self._joiner = joiner
        self._splitter = LineSplitter()

    @property
    def wants_bytes(self) -> bool:
        """Whether the next bytes can be taken."""
        return not (self.has_ended or self.lines or self.tee_waits)

    @property
    def tee_waits(self) -> bool:
        """Whether bytes must be passed on first."""
        return self.tee is not None and self.tee.waits

    def read(self, now_seconds: float) -> int:
        """Read available bytes; return how many there were, at most `READ_BYTES`."""
        try:
            data = os.read(self.descriptor, READ_BYTES)
        except BlockingIOError:
            return 0
        if not data:
            self.end()
            return 0
        if self.tee is not None:
            self.tee.put(data)
        self._take(self._splitter.feed(data), now_seconds)
        return len(data)

    def end(self) -> None:
        """Stop reading; take what is left as `take_unfinished` does."""
        if self.has_ended:
            return
        self.has_ended = True
        os.close(self.descriptor)
        self.take_unfinished()

    def take_unfinished(self) -> None:
        """Take what has come of a line that has no end yet, and the record that is held."""
        self._take(self._splitter.finish(), 0.0)
        if self._joiner is not None:
            self.lines.extend(self._joiner.finish())

    def records(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield time and record of each line; ask for the next one when the buffer has this one.

        A line stays until then, so none is lost or taken twice where there is no memory.
        """
        while self.lines:
            time_ns, text = self.lines[0]
            yield time_ns, record_of_line(text, self.source, self._message_key)
            self.lines.popleft()

    def flush_due(self, now_seconds: float) -> None:
        """Take a record that has been held for more lines long enough."""
        if self._joiner is not None:
            self.lines.extend(self._joiner.flush_due(now_seconds))

    def due_seconds(self) -> float:
        """Return when `flush_due` will take a record, monotonic."""
        return math.inf if self._joiner is None else self._joiner.due_seconds()

    def _take(self, texts: list[bytes], now_seconds: float) -> None:
        lines = list(zip(count(time.time_ns() - len(texts) + 1), texts))
        if self._joiner is not None and lines:
            lines = self._joiner.feed(lines, now_seconds)
        self.lines.extend(lines)


class Arrivals:
    """The order in which pipes became readable, as far as the kernel shows it (epoll(7)).

    Edge-triggered, epoll lists each pipe that got bytes since the last look, in the order of the
    first of them.
    """

    _epoll: select.epoll | None = None

    def watch(self, readers: Iterable[PipeReader]) -> None:
        """Note from now on when these pipes get bytes."""
        with contextlib.suppress(OSError):  # too many descriptors: then the order is unknown
            self._epoll = select.epoll()
            for each in readers:
                self._epoll.register(each.descriptor, select.EPOLLIN | select.EPOLLET)

    def sort(self, readers: list[PipeReader]) -> None:
        """Sort the pipes: first those that had bytes at the last look already."""
        events = self._epoll.poll(0) if self._epoll is not None else ()
        places = {descriptor: place for place, (descriptor, _) in enumerate(events)}
        readers.sort(key=lambda each: places.get(each.descriptor, -1))

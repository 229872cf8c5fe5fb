"""What a flush waits for: the records that were accepted before it."""

from __future__ import annotations

import time
from collections.abc import Callable

from logship._buffer.buffer import Buffer
from logship._buffer.counters import FlushReport


class Flush:
    """One flush: it begins when this is made.

    Args:
        buffer: Where the records wait.
        monotonic: Seconds.
    """

    def __init__(self, buffer: Buffer, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._buffer = buffer
        self._monotonic = monotonic
        self._started_seconds = monotonic()
        self._not_delivered = buffer.counters.not_delivered
        self._target = buffer.seal_all()
        # A signal handler in the middle of the buffer may find records without numbers too.
        self._is_stuck = buffer.is_stuck or (buffer.is_held_here and buffer.records_waiting > 0)

    @property
    def is_settled(self) -> bool:
        """Whether nothing of that waits any more."""
        return self._buffer.settled_through() >= self._target

    def report(self) -> FlushReport:
        """Return what has come of it."""
        not_delivered = self._buffer.counters.not_delivered - self._not_delivered
        return FlushReport(
            all_acked=self.is_settled and not self._is_stuck and not not_delivered,
            unacked=self._buffer.records_waiting,
            seconds=self._monotonic() - self._started_seconds,
        )

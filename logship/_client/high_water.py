"""States a client's highest numbers from time to time, so that a lost tail can be seen."""

from __future__ import annotations

import math

from logship._buffer.buffer import Buffer


class HighWater:
    """Has high-water records written, as long as records are logged.

    Args:
        buffer: Whose streams.
        interval_seconds: From one record to the next; 0 is never.
        now_seconds: The time on the monotonic clock.
    """

    def __init__(self, buffer: Buffer, interval_seconds: float, now_seconds: float) -> None:
        self._buffer = buffer
        self._interval_seconds = interval_seconds or math.inf
        self._due_seconds = now_seconds + self._interval_seconds
        self._accepted = 0  # when the last one was written

    def tend(self, now_seconds: float) -> None:
        """Have a record written, if one is due and there is news for it."""
        if now_seconds < self._due_seconds or not self._has_news:
            return
        self._due_seconds = now_seconds + self._interval_seconds
        accepted = self._buffer.counters.accepted
        if self._buffer.state_highest():
            self._accepted = accepted

    def deadline_seconds(self) -> float | None:
        """Return when a record will be due, if nothing else happens; None if none will be.

        A client in which nothing is logged is not woken.
        """
        return self._due_seconds if self._has_news and not self._buffer.intake_closed else None

    @property
    def _has_news(self) -> bool:
        return self._buffer.counters.accepted != self._accepted

"""What a flush waits for: the records that were accepted before it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from logship._buffer.buffer import Buffer
from logship._buffer.counters import FlushReport

CHECK_SECONDS = 0.5
"""How long a call waits without news until it asks again whether the client still ships."""


class Flush:
    """One flush: it begins when this is made. Its steps only look.

    Args:
        timeout_seconds: How long to wait at most; None for no limit.
        may_wait: Returns whether acks may come while the caller waits.
    """

    def __init__(
        self, buffer: Buffer, timeout_seconds: float | None, may_wait: Callable[[], bool]
    ) -> None:
        self._buffer = buffer
        self._may_wait = may_wait
        self._started_seconds = time.monotonic()
        self._timeout_seconds = math.inf if timeout_seconds is None else timeout_seconds
        self._not_delivered = buffer.not_delivered()
        self._target = buffer.seal_all()
        # A signal handler in the middle of the buffer may find records without numbers too.
        self._is_stuck = buffer.is_stuck or (buffer.is_held_here and buffer.records_waiting > 0)

    def step(self) -> float | None:
        """Return how many seconds may pass before the next look; None when it is over."""
        left = self._timeout_seconds - self._seconds
        if left <= 0.0 or self._is_settled or not self._may_wait():
            return None
        return min(left, CHECK_SECONDS)

    def report(self) -> FlushReport:
        """Return what has come of it."""
        not_delivered = self._buffer.not_delivered() - self._not_delivered
        return FlushReport(
            all_acked=self._is_settled and not self._is_stuck and not not_delivered,
            unacked=self._buffer.records_waiting,
            seconds=self._seconds,
        )

    @property
    def _is_settled(self) -> bool:
        """Whether nothing of that waits any more."""
        return self._buffer.settled_through() >= self._target

    @property
    def _seconds(self) -> float:
        return time.monotonic() - self._started_seconds

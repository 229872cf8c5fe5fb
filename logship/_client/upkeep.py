"""What a client tends to in each turn, beside sending.

Its spool, what dead processes left, and its highest numbers, which are stated from time to time so
that a lost tail can be seen.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from logship._buffer.buffer import Buffer
from logship._buffer.chunk import Chunk
from logship._hooks.interruptions import is_interruption
from logship._stderr.last_resort import LastResort

if TYPE_CHECKING:
    from logship._spool.orphans import Orphans
    from logship._spool.storage import SpoolStorage

ADOPTED_MAX = 16
"""Chunks of dead processes in memory. That is more than go out at a time: a chunk that the server
does not take waits here until the server has taken another one."""

ADOPTION_STEPS = 4
"""How many steps of adoption one turn takes at most: each may read a file."""


class SpoolUpkeep:
    """Tends the spool, if there is one, and adopts what dead processes left."""

    def __init__(
        self,
        buffer: Buffer,
        spool: SpoolStorage | None,
        orphans: Orphans | None,
        *,
        last_resort: LastResort,
    ) -> None:
        self._buffer = buffer
        self._spool = spool
        self._orphans = orphans
        self._last_resort = last_resort

    def tend(self, *, may_adopt: bool) -> None:
        """Let the spool prepare files; fetch what dead processes left, if it may be shipped."""
        if self._spool is not None:
            self._spool.maintain(self._buffer.exclusively)
            while self._spool.news:
                self._last_resort.warn(*self._spool.news.popleft(), interval_seconds=0.0)
        if self._orphans is not None and may_adopt:
            try:
                self._adopt(self._orphans)
            except Exception as error:
                if is_interruption(error):
                    raise
                self._orphans.close()
                self._last_resort.warn_of_bug("recovery", error)

    def hurry(self) -> None:
        """Have the next turn see whether the spool is there: the end leaves records on it."""
        if self._spool is not None:
            self._spool.look_soon()

    def deadlines(self) -> tuple[float | None, ...]:
        """Return when to look at the spool again, if nothing else happens."""
        if self._buffer.intake_closed:
            return ()
        return (
            self._spool.retry_deadline_seconds() if self._spool is not None else None,
            self._orphans.deadline_seconds if self._orphans and self.has_room else None,
        )

    @property
    def has_room(self) -> bool:
        """Whether one chunk more may be adopted."""
        return len(self._buffer.adopted) < ADOPTED_MAX and not self._buffer.intake_closed

    def close(self) -> None:
        """Give up the locks: a recoverer, or the next process, finds what is left."""
        if self._orphans is not None:
            self._orphans.close()
        if self._spool is not None:
            self._spool.close()

    def _adopt(self, orphans: Orphans) -> None:
        """Take a few chunks of dead processes, in small steps."""
        for _ in range(ADOPTION_STEPS):
            found = orphans.step() if self.has_room else None
            if isinstance(found, Chunk):
                self._buffer.adopt(found)


class HighWater:
    """Has high-water records written, as long as records are logged.

    There are `interval_seconds` between two of them; 0 is never.
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

"""The way into the buffer: an entry goes into the inbox, and is numbered in the critical section.

Where the bound is far away, a call appends its entry, and combines what waits: every entry where
records must outlive the process, and otherwise 64 at once. Near the bound, and where the entry is
large, the call enters the section first, so that its answer about the bound is exact.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from enum import Enum, auto
from typing import TypeVar

from logship._buffer.inbox import Item, Tag
from logship._buffer.section import LOCK_PATIENCE_SECONDS, NOT_HELD, NotHeld, Section
from logship._buffer.wakeups import ShipperState
from logship._hooks.interruptions import is_interruption
from logship._hooks.threads import may_wait_here

COMBINE_AT = 64
"""How many entries in the inbox are combined at once: few enough to be quick, and enough to share
out what is done once for all of them. Where records must outlive the process, it is one."""

INBOX_MAX = 1024
"""From this many entries on, a call enters the section itself: the thread in it does not run."""

PROMISES_MAX = 16 * INBOX_MAX
"""How many entries may wait for a section that is never left, or that cannot number them; more are
refused."""


class Outcome(Enum):
    """What became of an offered entry."""

    ACCEPTED = auto()
    FULL = auto()
    REFUSED = auto()
    WITHHELD = auto()  # kept back on purpose; it was not offered at all


T = TypeVar("T")
_ACCEPTED = Outcome.ACCEPTED
_ASLEEP = ShipperState.ASLEEP


class Entrance:
    """Takes entries from any thread, and in the middle of itself.

    Args:
        section, bytes_max: The buffer's.
        combine_at, inbox_max: See `COMBINE_AT`, `INBOX_MAX`. Where records must outlive the
            process, both are one.
        inbox_bytes_max: So much may wait in the inbox; None: an eighth of `bytes_max`.
    """

    def __init__(
        self,
        section: Section,
        *,
        bytes_max: int,
        combine_at: int,
        inbox_max: int,
        inbox_bytes_max: int | None,
    ) -> None:
        storage = section.accumulator.chunks.storage
        self._keeps_at_once = storage.outlives_process
        if self._keeps_at_once:
            combine_at = inbox_max = 1
        self.bytes_max = bytes_max
        self._section = section
        self._combine_at = combine_at
        # Below these, entries go into the inbox without a look at the bound.
        relaxed_bytes = bytes_max // 8 if inbox_bytes_max is None else inbox_bytes_max
        relaxed_bytes = min(relaxed_bytes, storage.small_bytes)
        self._relaxed_body_bytes_max = relaxed_bytes // inbox_max - section.accumulator.stamp_bytes
        section.relaxed_bytes_max = bytes_max - relaxed_bytes
        section.inbox_max = inbox_max
        section.inbox_entries_max = inbox_max if storage.has_place else 0

    def offer(self, tag: Tag, body: bytes) -> Outcome:
        """Keep the entry that begins with `body` and number it, if there is space.

        Args:
            tag: The route; None for the default one while that is awaited.
            body: A packed entry whose map header counts the stamp, without the stamp.

        Returns:
            `ACCEPTED`, `FULL` (nothing happened), or `REFUSED` (and counted).
        """
        section = self._section
        waiting = section.inbox.items
        if len(waiting) >= section.inbox_entries_max or len(body) > self._relaxed_body_bytes_max:
            return self._offer_with_care(tag, body)
        item, waits = (tag, body), False
        try:
            waiting.append(item)
            waits = True
            if len(waiting) >= self._combine_at:
                is_busy = section.enter(_nothing, 0.0) is NOT_HELD
                if is_busy and self._keeps_at_once and self._enter_soon(_nothing) is NOT_HELD:
                    self._leave()
            elif section.wakeups.shipper is _ASLEEP:
                section.wakeups.wake_now()
        except BaseException as error:
            section.wakeups.wake_now()
            if not waits or not isinstance(error, MemoryError) or is_interruption(error):
                raise
        return self._settled(item) if section.closing else _ACCEPTED

    def _leave(self) -> None:
        """Leave what waits to the call that is in the section, or to the shipper."""
        if not self._section.is_owned():
            self._section.wakeups.wake_now()  # the holder may have looked for the last time

    def _enter_soon(self, work: Callable[[], T]) -> T | NotHeld:
        """Enter the section as soon as another thread leaves it, where this one may wait."""
        if not may_wait_here():
            return NOT_HELD
        return self._section.enter(work, LOCK_PATIENCE_SECONDS)

    def _offer_with_care(self, tag: Tag, body: bytes) -> Outcome:
        """Do as `offer` does, with a look at the bound; number the entry if the section is free."""
        section = self._section
        if section.closed:
            return self.refuse(tag)
        item = (tag, body)
        admit = functools.partial(self._admit, item)
        outcome = section.enter(admit, 0.0)
        if outcome is NOT_HELD:
            outcome = self._enter_soon(admit)
        return self._promise(item) if outcome is NOT_HELD else outcome

    def _admit(self, item: Item) -> Outcome:
        """Number an entry and keep it, if there is space; inside the section."""
        tag, body = item
        section, accumulator = self._section, self._section.accumulator
        if section.closing:
            return self.refuse(tag)
        size = len(body) + accumulator.stamp_bytes
        held = accumulator.chunks.bytes_held
        if section.inbox.items:  # it could not be numbered, or came this moment
            if len(section.inbox) >= PROMISES_MAX:
                return self.refuse(tag)
            held += section.inbox.bytes(accumulator.stamp_bytes)
        if held + size > self.bytes_max or not accumulator.has_room(tag, size):
            return Outcome.FULL
        section.inbox.items.append(item)
        section.combine()
        return _ACCEPTED

    def _promise(self, item: Item) -> Outcome:
        """Leave an entry to the call that is in the section, or to the next one; without a bound.

        For a call that interrupts another one of its own thread, and for one that must not wait
        any longer.
        """
        section = self._section
        if len(section.inbox) >= PROMISES_MAX:
            return self.refuse(item[0])
        section.inbox.items.append(item)
        self._leave()
        return self._settled(item) if section.closing else _ACCEPTED

    def _settled(self, item: Item) -> Outcome:
        """Return what became of an item that came while intake ended."""
        return _ACCEPTED if self._section.is_settled(item) else self.refuse(item[0])

    def refuse(self, tag: Tag) -> Outcome:
        """Count a record as refused."""
        self.note("refused", 1, tag)
        return Outcome.REFUSED

    def note(self, counter: str, amount: float, tag: Tag = None) -> None:
        """Have a counter advanced by whichever section comes next. From any thread, at any point.

        Args:
            counter: `refused`, `refused_lines`, `refused_unwritten`, `truncated` or
                `blocked_seconds`; or a reason of `ON_PURPOSE` for a record that is kept back: it
                will be numbered, dropped and declared.
            amount: By how much.
            tag: Whose stream counts it too, where it is `refused` or kept back.
        """
        self._section.notes.append((counter, tag, amount))
        if len(self._section.notes) >= INBOX_MAX:
            self._section.enter(_nothing, 0.0)


def _nothing() -> None:
    pass

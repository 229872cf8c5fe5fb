"""What happens to a record when the buffer is full.

The rule that costs the application least and loses least: one wait of at most a second per
outage, never on an event loop's thread; after it no call waits until space was freed. What then
finds no place goes to the last resort, at a bounded pace, or is dropped; in each case it is
numbered, counted and declared in its stream.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Literal

from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._buffer.inbox import Tag
from logship._hooks.locking import Bell
from logship._hooks.threads import may_wait_here
from logship._stderr.last_resort import LastResort
from logship._stderr.spill import spilled_lines


class _Outage:
    """A time without space.

    Attributes:
        wait_ends_seconds: Until then senders wait, monotonic.
        is_over: Whether space was freed, or intake has closed.
    """

    def __init__(self, wait_ends_seconds: float) -> None:
        self.wait_ends_seconds = wait_ends_seconds
        self.is_over: bool = False

    def end(self) -> None:
        """Note that it is over."""
        self.is_over = True


class Admission:
    """Puts entries into the buffer, and applies the policy where they do not fit.

    Args:
        buffer: Where entries go.
        policy: `block`, `drop_oldest` or `drop_newest`.
        block_seconds_max: With `block`, how long one outage may make senders wait.
        last_resort: With `block`, where a record goes that found no place; None drops it.
        warn: Tells a person, given a word for the kind of warning and a text.
        monotonic: Seconds.
    """

    def __init__(
        self,
        buffer: Buffer,
        *,
        policy: Literal["block", "drop_oldest", "drop_newest"],
        block_seconds_max: float,
        last_resort: LastResort | None,
        warn: Callable[[str, str], None] = lambda kind, text: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._buffer = buffer
        self._policy = policy
        self._block_seconds_max = block_seconds_max
        self._last_resort = last_resort if policy == "block" else None
        self._warn = warn
        self._monotonic = monotonic
        self._outage: _Outage | None = None
        self._waiting_threads: set[int] = set()

    def admit_after(self, outcome: Outcome, tag: Tag, body: bytes) -> Outcome:
        """Do what the policy says where an offered entry found no place.

        Returns:
            `ACCEPTED`; `FULL` where the record was dropped or spilled, and has a number; `REFUSED`
            where it has none, and is counted as refused; `WITHHELD` if that was the outcome before.
        """
        if outcome is Outcome.FULL:
            # In the place of what is on stderr already, if a spill is ahead.
            outcome = self._offer_in_place(self._buffer.spilling.drop_spilled, tag, body)
        if outcome is not Outcome.FULL:
            return outcome
        if self._policy == "block":
            outcome = self._wait_and_offer(tag, body)
        elif self._policy == "drop_oldest":
            outcome = self._offer_in_place(self._buffer.drop_oldest, tag, body)
            if outcome is not Outcome.FULL:
                self._say_dropped()
        return self._give_up(tag, body) if outcome is Outcome.FULL else outcome

    def _offer_in_place(self, drops: Callable[[], bool], tag: Tag, body: bytes) -> Outcome:
        """Drop chunks until the entry fits, or there is none to drop."""
        outcome = Outcome.FULL
        while outcome is Outcome.FULL and drops():
            outcome = self._buffer.offer(tag, body)
        return outcome

    def _wait_and_offer(self, tag: Tag, body: bytes) -> Outcome:
        """Wait for space within this outage's budget, if this thread may."""
        me = threading.get_ident()
        # In the first case a signal handler logs while its own thread waits.
        if me in self._waiting_threads or not may_wait_here():
            return Outcome.FULL

        def offer() -> Outcome:
            outcome = self._buffer.offer(tag, body)
            if outcome is not Outcome.FULL:
                return outcome
            return self._offer_in_place(self._buffer.spilling.drop_spilled, tag, body)

        started = self._monotonic()
        try:
            self._waiting_threads.add(me)
            while (left := self._outage_left_seconds()) > 0:
                outcome = offer_or_wait(self._buffer, offer, left)
                if outcome is not Outcome.FULL:
                    return outcome
        finally:
            self._waiting_threads.discard(me)
            self._buffer.note("blocked_seconds", self._monotonic() - started)
        return Outcome.FULL

    def _outage_left_seconds(self) -> float:
        """Return what is left of the one wait, which the outage's first record began."""
        now, outage = self._monotonic(), self._outage
        if outage is None or outage.is_over:
            outage = _Outage(now + self._block_seconds_max)
            # Arranged first: where that fails, no outage has begun that would never end.
            self._buffer.when_space(outage.end)
            self._outage = outage
        return outage.wait_ends_seconds - now

    def _give_up(self, tag: Tag, body: bytes) -> Outcome:
        """Number the record without keeping it, and write it to the last resort, if any."""
        me, last_resort = threading.get_ident(), self._last_resort
        try:
            if last_resort is not None:
                self._buffer.counters.undecided.add(me)
            numbered = self._buffer.number_and_drop(tag, body)
            if numbered is None:
                return Outcome.REFUSED
            if last_resort is not None:
                for line, _ in spilled_lines(numbered.stream.tag, numbered.entry):
                    if last_resort.offer_line(line):
                        self._buffer.dropped_was_spilled(numbered)
                        return Outcome.FULL
        finally:
            self._buffer.counters.undecided.discard(me)
        self._say_dropped()
        return Outcome.FULL

    def _say_dropped(self) -> None:
        self._warn("overflow", "the buffer is full: records are dropped, counted and declared")


def offer_or_wait(buffer: Buffer, offer: Callable[[], Outcome], timeout_seconds: float) -> Outcome:
    """Offer an entry, and if it does not fit, wait in this thread until something was freed.

    Args:
        buffer: Whose space it is.
        offer: Offers the entry. It is called once, when the bell is arranged, so that the wait
            misses no release.
        timeout_seconds: How long to wait; -1 without a bound.

    Returns:
        What `offer` said; where that is `FULL`, there may be space now, or the time is up.
    """
    # Arranged before the offer, so that no release is missed.
    space = Bell()
    take_back = buffer.when_space(space.ring)
    try:
        outcome = offer()
        if outcome is Outcome.FULL:
            space.wait(timeout_seconds)
    finally:
        take_back()
    return outcome

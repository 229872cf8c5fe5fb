"""The critical section: one call at a time, with everything that waits combined before it.

A call enters it for what changes the accumulator. On the way in, a change that an exception
interrupted is finished, what was noted is counted, and what waits in the inbox is numbered and
kept. On the way out, outside the lock, the shipper and the calls that wait for
space are told.

What the section does by itself may fail, for want of memory or because of a bug. Then the call goes
on, the entries stay in the inbox, and the next call that enters tries again.
"""

from __future__ import annotations

from collections import Counter, defaultdict, deque
from collections.abc import Callable
from enum import Enum, auto
from typing import TypeVar

from logship._buffer.accumulator import HIGH_WATER_TAG, Accumulator
from logship._buffer.chunks import Chunks
from logship._buffer.inbox import Inbox, Item, Tag
from logship._buffer.stream import Stream
from logship._buffer.wakeups import ShipperState, Wakeups
from logship._hooks.interruptions import is_interruption
from logship._hooks.locking import SectionLock
from logship._reasons import ON_PURPOSE

LOCK_PATIENCE_SECONDS = 0.02
"""So long a producer waits for the lock. Its holder may be in a garbage collection that runs an
application's `__del__`, which may want a lock that this very producer holds: waiting on would be a
deadlock. A section takes microseconds, so nothing waits for so long in any other case; only a spool
may make a file in it, if no segment is ready."""

DECISION_PATIENCE_SECONDS = 2.0
"""So long a call waits to be told whether its record was numbered while intake ended. On a busy
machine that was seen to take 1.5 seconds. A call that has waited in vain reports its record as
refused, and the record may be delivered all the same."""

_NO_LIMIT = -1.0

Note = tuple[str, Tag, float]
"""A count that waits to be made: a counter's name or a reason of `ON_PURPOSE`, a tag, and how much.

`counter += 1` is three steps, between which another thread or a signal handler may come. To append
a note is one.
"""

T = TypeVar("T")
_ASLEEP = ShipperState.ASLEEP


class NotHeld(Enum):
    """What a section answers that could not be entered."""

    NOT_HELD = auto()


NOT_HELD = NotHeld.NOT_HELD


class Section:
    """The lock, and what it guards.

    Args:
        failed: Told of a bug, outside of the lock.

    Attributes:
        accumulator: What the buffer holds.
        inbox: Entries that wait for their numbers.
        notes: Counts that wait to be made.
        wakeups: Whether the shipper must be woken.
        relaxed_bytes_max: While no more is held, entries may wait in the inbox.
        inbox_max: How many may, then.
        inbox_entries_max: How many may at this moment.
        closing: Whether intake is to end; any call may set it.
        closed: Whether it has ended: nothing of the application's is numbered any more.
        is_stuck: Whether the entries that waited last could not all be numbered.
    """

    def __init__(
        self,
        accumulator: Accumulator,
        wake: Callable[[], object],
        failed: Callable[[Exception], None],
    ) -> None:
        self.accumulator: Accumulator = accumulator
        self.inbox: Inbox = Inbox()
        self.notes: list[Note] = []
        self.wakeups: Wakeups = Wakeups(wake)
        self.relaxed_bytes_max = 0
        self.inbox_max: int = 0
        self.inbox_entries_max: int = 0
        self.closing = False
        self.closed: bool = False
        self.is_stuck: bool = False
        self._all_ended = False
        self._bug: Exception | None = None
        self._failed = failed
        self._lock = SectionLock()

    @property
    def chunks(self) -> Chunks:
        """Where entries are kept, once they are numbered."""
        return self.accumulator.chunks

    def is_owned(self) -> bool:
        """Tell whether this thread is inside: a call that interrupted the section asks."""
        return self._lock.is_owned()

    def exclusively(self, work: Callable[[], T]) -> T:
        """Do something in the section, however long it takes to enter it.

        A re-entered call is inside already. It may read, and it may change what no change of the
        accumulator stores.
        """
        if self._lock.is_owned():
            self.accumulator.changes.finish()
            return work()
        result = self.enter(work, _NO_LIMIT)
        assert result is not NOT_HELD
        return result

    def if_soon_free(self, work: Callable[[], T], otherwise: T) -> T:
        """Do something in the section; return `otherwise` where it cannot be entered soon."""
        result = self.enter(work, LOCK_PATIENCE_SECONDS)
        return otherwise if result is NOT_HELD else result

    def enter(self, work: Callable[[], T], patience_seconds: float) -> T | NotHeld:
        """Do something in the section, and tell outside of it what happened.

        Args:
            work: Called at most once.
            patience_seconds: How long to wait for another thread; -1 waits without a bound.

        Returns:
            What `work` returned; `NOT_HELD` where the section could not be entered, which is so
            for a re-entered call too.
        """
        lock = self._lock
        if lock.is_owned():
            return NOT_HELD
        try:
            result = lock.attempt(self._do, work, NOT_HELD, patience_seconds)
            chunks = self.chunks
            if chunks.has_news or chunks.waiters.are_due or self.wakeups.shipper is _ASLEEP:
                self._tell()
            if self._bug is not None:
                self._tell_of_bug()
        except BaseException:
            lock.recover()
            self.wakeups.wake_now()  # an exception may have come between a chunk and its call
            self._tell_of_bug()  # before the caller tells of an exception that followed from it
            raise
        return result

    def combine(self) -> None:
        """Number and keep what waits in the inbox at this moment; inside the section."""
        self.is_stuck = False
        left = len(self.inbox.items)
        if self.closing:  # looked at after the count: a handler may close and withdraw in between
            left = self.inbox.forget_withdrawn()
        try:
            while left > 0 and not self.closed:
                run = self.inbox.first_run(left)
                left -= self.accumulator.append(run, self.inbox.remove)
        except Exception as error:  # noqa: BLE001 - it passes, or is told of
            self.is_stuck = True
            self._go_on_after(error)

    def refuse_rest(self, refused: deque[Item]) -> None:
        """Count what could not be numbered as refused, and append it; inside the section.

        Once intake has ended, all that was promised is numbered. An item that came later belongs to
        its call, which is about to withdraw it.
        """
        if self.closed:
            return
        items, notes = self.inbox.items, self.notes
        rest = items[: self.inbox.forget_withdrawn()]
        count, counts = len(rest), [("refused", tag, 1) for tag, _ in rest]
        # No change of `changes`: after a bug, none can be made any more. In this order, an
        # interruption may have an entry told of twice, and none is lost.
        refused += rest
        notes += counts
        del items[:count]

    def begin_anew(self, accumulator: Accumulator, *, refuses: bool) -> None:
        """In a forked child: keep nothing of the parent's, whose threads may hold the lock.

        A section that the fork interrupted goes on with what it holds, and nothing reads that. If
        the child `refuses`, no entry will be numbered.
        """
        self._lock.reset()
        self.inbox, self.notes = Inbox(), []
        self.accumulator = accumulator
        if refuses:
            self.closed = True
            self.inbox_max = self.inbox_entries_max = 0

    # -- inside ----------------------------------------------------------------------------------

    def _do(self, work: Callable[[], T]) -> T:
        accumulator = self.accumulator
        try:
            if accumulator.changes.pending is not None:
                accumulator.changes.finish()
            if self.notes:
                count_notes(self.notes, accumulator, closed=self.closed)
        except Exception as error:  # noqa: BLE001 - it passes, or is told of
            self._go_on_after(error)
        if self.inbox.items:
            self.combine()
        result = work()
        if self.closing and not self._all_ended:
            self._end_intake()
        chunks = accumulator.chunks
        is_far = chunks.bytes_held <= self.relaxed_bytes_max and chunks.storage.has_place
        self.inbox_entries_max = self.inbox_max if is_far and not self.closing else 0
        return result

    def _end_intake(self) -> None:
        """Number what was promised a place, then end all streams; may be called again."""
        self.chunks.waiters.are_due = True  # they are told that there will be no space
        if not self.closed:
            self.combine()
            if self.inbox.items[:]:
                return  # it could not, or more has come: the next call that enters goes on
            self.closed = True  # what is appended from here on is refused
        try:
            if self.notes:
                count_notes(self.notes, self.accumulator, closed=False)  # the end records tell
            if HIGH_WATER_TAG in self.accumulator.streams.open:
                self.accumulator.state_highest()
            for stream in list(self.accumulator.streams.open.values()):
                self.accumulator.end(stream, retires=False)
            self._all_ended = True
        except Exception as error:  # noqa: BLE001 - it passes, or is told of
            self._go_on_after(error)

    def _go_on_after(self, error: Exception) -> None:
        """Note a bug, to be told of outside, and finish the change in which it came.

        Where that fails too, this section can make no change. What a signal handler raised passes.
        """
        if is_interruption(error):
            raise error
        if not isinstance(error, MemoryError):
            self._bug = self._bug or error
        try:
            self.accumulator.changes.finish()
        except Exception as again:
            if is_interruption(again):
                raise

    # -- outside ---------------------------------------------------------------------------------

    def is_settled(self, item: Item) -> bool:
        """Tell whether an item that came while intake ended is numbered, once that is decided.

        One that is not is withdrawn: where this call interrupted the section, that may have looked
        already, and where there was no memory for it, the next call would find some. Where the
        section cannot be entered, its holder waits for this very thread, perhaps. The answer is no
        then, and the record may be delivered all the same.
        """
        if self.is_owned():
            self.accumulator.changes.finish()
            return not self.inbox.withdraw(item)
        was_withdrawn = self.enter(lambda: self.inbox.withdraw(item), DECISION_PATIENCE_SECONDS)
        return was_withdrawn is False

    def _tell(self) -> None:
        """Tell the shipper, and the calls that wait for space, what happened in the section."""
        chunks = self.chunks
        if chunks.has_news:
            chunks.has_news = False
            self.wakeups.chunk_sealed()
        elif chunks.open or self.inbox.items:
            self.wakeups.entry_waits()
        if chunks.waiters.are_due:
            chunks.waiters.tell()

    def _tell_of_bug(self) -> None:
        bug, self._bug = self._bug, None
        if bug is not None:
            self._failed(bug)


def count_notes(notes: list[Note], accumulator: Accumulator, *, closed: bool) -> None:
    """Advance the counters by what was noted, and remove it; in the critical section.

    Where intake is `closed`, what was withheld gets no number any more, and is refused.
    """
    taken = notes[:]
    counters, streams = accumulator.counters, accumulator.streams
    withheld: defaultdict[Stream, Counter[str]] = defaultdict(Counter)
    refused: Counter[Tag] = Counter()
    values: dict[str, float] = {}
    for noted, tag, amount in taken:
        is_withheld = noted in ON_PURPOSE
        if is_withheld and not closed and streams.has_place(tag):
            withheld[accumulator.stream(tag)][noted] += int(amount)
            continue
        name = "refused" if is_withheld else noted
        values[name] = values.get(name, getattr(counters, name)) + amount
        if name == "refused":
            refused[tag] += int(amount)
    known = {streams.open[tag]: count for tag, count in refused.items() if tag in streams.open}
    refusals = {stream: stream.refused + count for stream, count in known.items()}
    by_reason = sum(withheld.values(), Counter[str]())
    kept_back = {stream: count + Counter(stream.withheld) for stream, count in withheld.items()}
    accepted, dropped = counters.accepted + by_reason.total(), counters.dropped + by_reason

    def change() -> None:
        for name, value in values.items():
            setattr(counters, name, value)
        for stream, count in refusals.items():
            stream.refused = count
        for stream, by_reason in kept_back.items():
            stream.withheld = by_reason
        counters.accepted, counters.dropped = accepted, dropped
        if notes and notes[0] is taken[0]:
            del notes[: len(taken)]

    accumulator.changes.commit(change)

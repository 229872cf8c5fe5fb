"""Where accepted records wait: an inbox that any thread appends to, and an accumulator behind it.

A call that logs appends its entry to the inbox, a plain list. `append` is one call in C: it is
atomic between threads, and safe in the middle of anything, a signal handler or a `__del__` too. A
*combine* moves what waits into chunks: numbered, stamped and copied by a few calls for all of it.
It happens in the critical section, which a call enters when 64 entries wait, and every call enters
where records must outlive the process. Where another thread is in the section, a call that logs
into memory goes on without waiting.

Three rules keep it whole, whatever interrupts it (see `docs/admission.md`):

- Everything in the section ends in a change that is made once or, after an exception, again
  (`changes`). Removing entries from the inbox is a part of that change. It is decided by identity,
  since each inbox item is a new tuple.
- A call that finds itself inside the section, because it interrupted it, appends and leaves.
- The end of intake is decided in the section. A call that came meanwhile asks what became of its
  item.

Nothing here waits for long, logs or does I/O.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import time
from collections.abc import Callable
from enum import Enum, auto
from itertools import takewhile
from typing import TypeVar

from logship.buffer.account import account_of, report_of
from logship.buffer.accumulator import (
    OVERFLOW_REASON,
    QUARANTINED_REASON,
    SPILLED_REASON,
    Accumulator,
    Numbered,
    Tag,
)
from logship.buffer.chunk import Chunk, ChunkState, MemoryStorage, Storage
from logship.buffer.counters import Account, Counters, DrainReport
from logship.buffer.wakeups import Shipper, Wakeups
from logship.locking import SectionLock
from logship.threads import may_wait_here

COMBINE_AT = 64
"""So many entries in the inbox are combined at once: few enough to be quick, and enough to share
out what is done once for all of them."""

INBOX_MAX = 1024
"""From so many on a call enters the section itself: the thread that is in it gets no processor."""

PROMISES_MAX = 16 * INBOX_MAX
"""So many entries may wait for a section that is never left; more are refused."""

_COMBINES_MAX = 3
"""How often one call combines in a row; the shipper does the rest."""

LOCK_PATIENCE_SECONDS = 0.02
"""So long a producer waits for the lock. Its holder may be in a garbage collection that runs an
application's `__del__`, which may want a lock that this very producer holds: waiting on would be a
deadlock. A section takes microseconds, so nothing waits for so long in any other case."""

_NO_LIMIT = -1.0

ADOPTED_INFLIGHT_MAX = 2
"""Chunks of dead processes on their way at a time: ours must find room in the window."""


class Outcome(Enum):
    """What became of an offered entry."""

    ACCEPTED = auto()
    FULL = auto()
    CLOSED = auto()
    TOO_LARGE = auto()


_ACCEPTED = Outcome.ACCEPTED
_ASLEEP = Shipper.ASLEEP

Item = tuple[Tag, bytes]
"""An entry without its stamp, and its tag. Each is a new tuple, known by its identity."""

WITHDRAWN: Item = (None, b"")
"""Takes the place of an item whose call was told that the record is refused."""

T = TypeVar("T")


class _NotHeld(Enum):
    """What a section answers that could not be entered."""

    NOT_HELD = auto()


_NOT_HELD = _NotHeld.NOT_HELD


class Buffer:
    """Accepted records on their way to the shipper.

    Args:
        bytes_max: Bytes of entries that may be held. Control records may exceed it by a little, and
            so may one small entry of each thread that logs at the same moment.
        chunk_bytes_max: A chunk is sealed when it has grown to this many bytes.
        body_bytes_max: A longer entry is turned away as `TOO_LARGE`, for the caller to cut it.
        linger_seconds: How long an open chunk waits for more.
        stamp_key: The field of the stamp, or None for records without stamps.
        awaited_tag: What the tag None stands for until `resolve_tag`; chunks with it wait for that.
            None where nothing is awaited.
        storage: Where chunks lie; in memory where none is given.
        wake: Called, outside the lock, when the shipper has something to look at. It may be
            called by any thread and from a signal handler, so it must neither block nor raise.
        monotonic: Seconds, for linger.
        time_ns: Nanoseconds since the epoch, for control records.
        random_bytes: As `os.urandom`, for streams' and chunks' ids.
        combine_at: See `COMBINE_AT`.
        inbox_max: See `INBOX_MAX`.
    """

    def __init__(  # noqa: PLR0913 - bounds, names, and the parts that tests replace
        self,
        *,
        bytes_max: int,
        chunk_bytes_max: int,
        body_bytes_max: int = sys.maxsize,
        linger_seconds: float,
        stamp_key: str | None,
        awaited_tag: str | None = None,
        storage: Storage | None = None,
        wake: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = os.urandom,
        combine_at: int = COMBINE_AT,
        inbox_max: int = INBOX_MAX,
    ) -> None:
        self.bytes_max = bytes_max
        self._combine_at = combine_at
        self._inbox_max = inbox_max
        self.linger_seconds = linger_seconds
        self._body_bytes_max = body_bytes_max
        self._monotonic = monotonic
        self._storage = storage or MemoryStorage(random_bytes, chunk_bytes_max)
        self._new_accumulator = functools.partial(
            Accumulator,
            chunk_bytes_max=chunk_bytes_max,
            stamp_key=stamp_key,
            awaited_tag=awaited_tag,
            monotonic=monotonic,
            time_ns=time_ns,
            random_bytes=random_bytes,
        )
        self._new_storage = functools.partial(MemoryStorage, random_bytes, chunk_bytes_max)
        self._accumulator = self._new_accumulator(storage=self._storage)
        self._lock = SectionLock()
        self._inbox: list[Item] = []
        self._notes: list[tuple[str, Tag, float]] = []
        self._wakeups = Wakeups(wake)
        self._closing = False  # set by any call
        self._closed = False  # in the section: nothing is numbered for the application any more
        self._all_ended = False
        self._space_callbacks: list[Callable[[], None]] = []
        self._space_is_free = False
        # Below these, entries go into the inbox without a look at the bound: all that may wait
        # there stays within an eighth of it.
        relaxed_bytes = bytes_max // 8
        self._relaxed_body_bytes_max = min(
            relaxed_bytes // inbox_max - self._accumulator.stamp_bytes, body_bytes_max
        )
        self._relaxed_bytes_max = bytes_max - relaxed_bytes
        if self._storage.outlives_process:
            self._relaxed_bytes_max = -1
        self._relaxed_entries_max = 0 if self._storage.outlives_process else inbox_max

    # -- producers -----------------------------------------------------------------------------

    def offer(self, tag: Tag, body: bytes) -> Outcome:
        """Keep the entry that begins with `body` and number it, if there is space.

        Args:
            tag: The route; None for the default one while that is awaited.
            body: A packed entry whose map header counts the stamp, without the stamp.

        Returns:
            `ACCEPTED`, `FULL` or `TOO_LARGE` (nothing happened), or `CLOSED` (counted as refused).
        """
        inbox = self._inbox
        if len(inbox) >= self._relaxed_entries_max or len(body) > self._relaxed_body_bytes_max:
            return self._offer_with_care(tag, body)
        item = (tag, body)
        try:
            inbox.append(item)
            if len(inbox) >= self._combine_at:
                self._combine_unless_busy()
            elif self._wakeups.shipper is _ASLEEP:
                self._wakeups.wake_now()
        except BaseException:
            self._wakeups.wake_now()
            raise
        return self._settled(item) if self._closing else _ACCEPTED

    def number_and_drop(self, tag: Tag, body: bytes, reason: str) -> Numbered | None:
        """Number an entry that will not be kept, and note its number as a gap.

        Returns:
            The numbered entry. None where the buffer is closed, the section cannot be entered, or
            one tag more is too many: the record is then counted as refused.
        """

        def drop() -> Numbered | None:
            return None if self._closed else self._accumulator.number_and_drop(tag, body, reason)

        numbered = self._if_free(drop, None)
        if numbered is None:
            self._refuse(tag)
        return numbered

    def dropped_was_spilled(self, numbered: Numbered, reason: str) -> None:
        """Count a dropped record as spilled: it reached stderr after all."""
        self._if_free(lambda: self._accumulator.dropped_was_spilled(numbered, reason), None)

    def drop_oldest(self) -> bool:
        """Drop the oldest chunk that is not on its way, and declare its numbers.

        Returns:
            Whether there was one.
        """

        def drop() -> bool:
            chunk = self._accumulator.oldest_droppable()
            if chunk is None:
                return False
            is_spilled = chunk.spilled_entries == chunk.entries
            self._give_up(chunk, SPILLED_REASON if is_spilled else OVERFLOW_REASON)
            return True

        return self._if_free(drop, False)

    def drop_spilled(self) -> bool:
        """Drop the oldest chunk that is wholly on stderr and not on its way; it counts as spilled.

        Returns:
            Whether there was one.
        """
        return bool(self._accumulator.written) and self._if_free(self._drop_spilled, False)

    def when_space(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Arrange for one call of `callback` when bytes come free or intake closes.

        Args:
            callback: Called by any thread, outside the lock; calling it twice must do no harm.

        Returns:
            A function that takes the arrangement back; it may be called in vain.
        """
        self._space_callbacks.append(callback)

        def take_back() -> None:
            with contextlib.suppress(ValueError):  # it was called
                self._space_callbacks.remove(callback)

        return take_back

    def note(self, counter: str, amount: float, tag: Tag = None) -> None:
        """Have a counter advanced by whichever section comes next. From any thread, at any point.

        Args:
            counter: `refused`, `truncated` or `blocked_seconds`.
            amount: By how much.
            tag: Whose stream counts it too, where it is `refused`.
        """
        self._notes.append((counter, tag, amount))
        if len(self._notes) >= INBOX_MAX:
            self._if_free(lambda: None, None)

    # -- the shipper ---------------------------------------------------------------------------

    def next_deadline_seconds(self) -> float | None:
        """Return when the oldest open chunk is due (monotonic), or None if there is none.

        None is due while sealed chunks wait: see `seal_due`. The caller must arrange to come back
        then, and look at `has_sealed` once more: from now on producers wake it only as the table in
        `wakeups` says.
        """
        return self._exclusively(self._rest)

    def seal_due(self, now_seconds: float) -> None:
        """Seal every open chunk that has waited for `linger_seconds`.

        None while sealed chunks wait to be taken: it would leave no sooner, and can grow instead.
        Otherwise a stopping client, which hardly lingers, would fill its buffer with chunks of a
        few records while the sidecar is slow or away.
        """

        def seal() -> None:
            self._wakeups.shipper = Shipper.AWAKE
            accumulator = self._accumulator
            if self._next_sealed() is not None:
                return
            for chunk in list(accumulator.open.values()):
                if accumulator.is_held(chunk):
                    continue
                if chunk.opened_seconds + self.linger_seconds > now_seconds:
                    break
                accumulator.seal(chunk)

        self._exclusively(seal)

    def seal_all(self) -> int:
        """Seal every open chunk, and return the serial up to which all chunks are now sealed.

        A re-entered call seals nothing.
        """
        if not self._lock.is_owned():
            self._exclusively(self._accumulator.seal_all)
        return self._accumulator.chunks_opened

    def take(self) -> Chunk | None:
        """Hand the oldest sealed chunk to delivery, or return None if there is none.

        Adopted ones wait until there is none of ours, and are few at a time, so that ours find
        room in the window.
        """

        def take() -> Chunk | None:
            chunk = self._next_sealed() or self._next_adopted()
            if chunk is not None:
                self._accumulator.take(chunk)
            return chunk

        return self._exclusively(take)

    def has_sealed(self) -> bool:
        """Tell whether `take` would return a chunk."""
        accumulator = self._accumulator
        if accumulator.awaits_tag and accumulator.sealed:
            has_own = self._exclusively(lambda: self._next_sealed() is not None)
        else:
            has_own = bool(accumulator.sealed)
        return has_own or (bool(accumulator.adopted) and self._next_adopted() is not None)

    def resolve_tag(self, tag: str | None) -> None:
        """Let those chunks go that wait for the default tag. May be called again.

        Args:
            tag: That; None where it will not be known, and the provisional one has to do.
        """
        self._exclusively(lambda: self._accumulator.resolve_tag(tag))
        self._wakeups.wake_now()

    def adopt(self, chunk: Chunk) -> None:
        """Ship a chunk of a dead process too."""

        def adopt() -> None:
            self._accumulator.adopted[chunk.id] = chunk

        self._exclusively(adopt)

    def locked(self, work: Callable[[], T]) -> T:
        """Do something quick for the storage's upkeep in the critical section."""
        return self._exclusively(work)

    def settled_through(self) -> int:
        """Return the highest serial such that all chunks up to it are acked or dropped."""

        def settled() -> int:
            serials = [chunk.serial for chunk in self._accumulator.unsettled.values()]
            return min(serials) - 1 if serials else self._accumulator.chunks_opened

        return self._exclusively(settled)

    def release(self, chunk: Chunk) -> None:
        """Free a chunk that the sidecar acked, and tell those who wait for space."""
        if chunk.adopted:
            self._exclusively(lambda: self._accumulator.release_adopted(chunk))
            return

        def release() -> None:
            self._accumulator.release(chunk)
            self._space_is_free = True

        self._exclusively(release)

    def split(self, chunk: Chunk) -> tuple[Chunk, Chunk] | None:
        """Replace a chunk that a server does not take by two halves with ids of their own.

        Returns:
            The halves, taken as the chunk was; None if it holds a single entry.
        """
        return self._exclusively(lambda: self._accumulator.split(chunk))

    def quarantine(self, chunk: Chunk, *, spilled: bool) -> None:
        """Give up a single record that a server does not take: its number is a gap from now on.

        Args:
            chunk: With one entry.
            spilled: Whether that is on stderr. It is written before this is called, because from
                here on any producer may declare the gap, with its reason.
        """
        if chunk.adopted:
            raise ValueError(f"{chunk!r} is none of ours: its spool must be told")
        reason = SPILLED_REASON if spilled else QUARANTINED_REASON
        self._exclusively(lambda: self._give_up(chunk, reason))

    def to_spill(self) -> list[Chunk]:
        """Return the chunks that may be written to stderr: unsettled, not spooled, oldest first.

        None that is open, as long as intake is.
        """

        def to_spill() -> list[Chunk]:
            chunks = [each for each in self._accumulator.in_order() if not each.spooled]
            return [each for each in chunks if self._closing or each.state is not ChunkState.OPEN]

        return self._exclusively(to_spill)

    def note_spilled(self, chunk: Chunk, entries: int, records: int) -> None:
        """Note that the chunk's first `entries`, `records` of them not control, went to stderr."""

        def note() -> None:
            chunk.spilled_entries = entries
            chunk.spilled_records = records

        self._exclusively(note)

    def note_written(self, chunk: Chunk) -> None:
        """Note that all of the chunk is on stderr: those who wait for space may have its place."""

        def note() -> None:
            self._accumulator.written = [*self._accumulator.written, chunk]
            self._space_is_free = True

        self._exclusively(note)

    def tell_waiters(self) -> None:
        """Call all who wait for space: things have changed, though no space came free."""
        self._space_is_free = True
        self._tell()

    # -- closing and the account ---------------------------------------------------------------

    def close_intake(self) -> None:
        """Take no more records; end every stream and seal every chunk. May be called again.

        Called by a signal handler in the middle of a section, it is done when that is.
        """
        self._closing = True
        if not self._lock.is_owned():
            self._exclusively(lambda: None)

    def after_fork_in_child(self) -> None:
        """In a forked child: begin anew in memory, and keep nothing of the parent's.

        A section that the fork interrupted goes on with what it holds, and nothing reads that.
        """
        self._lock.reset()
        self._inbox, self._notes, self._space_callbacks = [], [], []
        self._storage = self._new_storage()
        self._accumulator = self._new_accumulator(storage=self._storage)

    @property
    def intake_closed(self) -> bool:
        """Whether `close_intake` was called."""
        return self._closing

    @property
    def is_held_here(self) -> bool:
        """Whether this thread is inside the section: a signal handler that interrupted it asks."""
        return self._lock.is_owned()

    @property
    def is_used(self) -> bool:
        """Whether anything was ever logged."""
        counters = self.counters
        return bool(counters.accepted or counters.refused or self._inbox or self._notes)

    @property
    def counters(self) -> Counters:
        """What became of the records that were numbered, and of those that were refused."""
        return self._accumulator.counters

    @property
    def wake(self) -> Callable[[], None]:
        """What wakes the shipper."""
        return self._wakeups.wake

    @property
    def chunks_opened(self) -> int:
        """How many chunks were opened so far."""
        return self._accumulator.chunks_opened

    @property
    def adopted(self) -> list[Chunk]:
        """Chunks of dead processes that are not settled."""
        return list(self._accumulator.adopted.values())

    @property
    def bytes_held(self) -> int:
        """Bytes of entries that wait, those in the inbox too."""
        stamp_bytes = self._accumulator.stamp_bytes
        waiting = 0 if self._closed else sum(len(body) + stamp_bytes for _, body in self._inbox[:])
        return self._accumulator.bytes_held + waiting

    @property
    def unspooled(self) -> int:
        """Records that are in memory though there is a spool; those that wait for it count too."""
        waits = self._storage.outlives_process and not self._closed
        return self._storage.unspooled + (len(self._inbox) if waits else 0)

    @property
    def bytes_to_spill(self) -> int:
        """Bytes of entries that would die with the process: neither spooled nor on stderr."""
        waiting = (chunk for chunk in self.unsettled() if not chunk.spooled and chunk.entries)
        return sum(each.size - each.size * each.spilled_entries // each.entries for each in waiting)

    @property
    def records_waiting(self) -> int:
        """Records of the application that are neither acked nor dropped."""
        return sum(chunk.records for chunk in self.unsettled())

    def unsettled(self) -> list[Chunk]:
        """Return every chunk that is neither acked nor dropped, oldest first."""
        return self._exclusively(self._accumulator.in_order)

    def account(self) -> Account | None:
        """Return the numbers that metrics are made of, in whatever thread wants to know.

        None where the section cannot be entered now.
        """
        return self._if_free(lambda: account_of(self._accumulator, self.unspooled), None)

    def report(self, reason: str, seconds: float) -> DrainReport:
        """Return what became of every record so far."""
        return self._exclusively(lambda: report_of(self._accumulator, reason, seconds))

    # -- the section -----------------------------------------------------------------------------

    def _exclusively(self, work: Callable[[], T]) -> T:
        """Do something in the section, however long that takes to enter.

        A re-entered call finds it entered: it may read, and change what no change of this module
        stores.
        """
        if self._lock.is_owned():
            self._accumulator.changes.finish()
            return work()
        result = self._enter(work, _NO_LIMIT)
        assert result is not _NOT_HELD
        return result

    def _if_free(self, work: Callable[[], T], otherwise: T) -> T:
        """Do something in the section; return `otherwise` where that cannot be entered soon."""
        result = self._enter(work, LOCK_PATIENCE_SECONDS)
        return otherwise if result is _NOT_HELD else result

    def _enter(self, work: Callable[[], T], patience_seconds: float) -> T | _NotHeld:
        """Do something in the section, and outside of it tell of what happened."""
        try:
            result = self._lock.run(self._section, _NOT_HELD, patience_seconds, work)
            self._tell()
        except BaseException:
            self._wakeups.wake_now()  # an exception may have come between a chunk and its call
            raise
        return result

    def _section(self, work: Callable[[], T]) -> T:
        """Be the critical section: what waits is combined first, and intake ends behind `work`."""
        accumulator = self._accumulator
        accumulator.changes.finish()
        if self._notes:
            self._count_notes()
        if self._inbox:
            self._combine()
        result = work()
        if self._closing and not self._all_ended:
            self._end_intake()
        is_relaxed = accumulator.bytes_held <= self._relaxed_bytes_max
        self._relaxed_entries_max = self._inbox_max if is_relaxed else 0
        return result

    def _tell(self) -> None:
        """Tell the shipper, and those who wait for space, what happened in the section."""
        accumulator = self._accumulator
        if accumulator.has_news:
            accumulator.has_news = False
            self._wakeups.chunk_sealed()
        elif self._wakeups.shipper is _ASLEEP and (accumulator.open or self._inbox):
            self._wakeups.entry_waits()
        if self._space_is_free:
            self._space_is_free = False
            self._tell_waiters()

    def _tell_waiters(self) -> None:
        """Call each callback and then forget it, so that an exception in between loses none."""
        try:
            for callback in self._space_callbacks[:]:
                callback()
                with contextlib.suppress(ValueError):  # it was taken back
                    self._space_callbacks.remove(callback)
        except BaseException:
            self._space_is_free = True
            raise

    def _combine_unless_busy(self) -> None:
        """Combine what waits, unless another call does; that one combines, or the shipper."""
        for _ in range(_COMBINES_MAX):
            if self._enter(_nothing, 0.0) is _NOT_HELD or len(self._inbox) < self._combine_at:
                return

    def _combine(self) -> None:
        """Number and keep what waits in the inbox at this moment.

        Where there is no memory for it, it stays there for the next section.
        """
        left = len(self._inbox)
        try:
            while left > 0 and not self._closed:
                left -= self._combine_run(min(left, INBOX_MAX))
        except MemoryError:
            pass

    def _combine_run(self, most: int) -> int:
        """Number and keep the first entries, all of one tag; return how many."""
        inbox = self._inbox
        taken = inbox[:most]
        tags = [tag for tag, _ in taken]
        bodies = [body for _, body in taken]
        if tags.count(tags[0]) < most:
            # Each tag's entries keep their order; between tags there is none to keep.
            taken.sort(key=_tag_text)
            inbox[:most] = taken
            tag = taken[0][0]
            bodies = [body for _, body in takewhile(lambda item: item[0] == tag, taken)]
        if self._closing and WITHDRAWN in taken:
            return self._forget_withdrawn(taken)
        remove = functools.partial(_remove, inbox, taken[0])
        return self._accumulator.append(taken[0][0], bodies, remove)

    def _forget_withdrawn(self, taken: list[Item]) -> int:
        kept = [item for item in taken if item is not WITHDRAWN]
        self._inbox[: len(taken)] = kept
        return len(taken) - len(kept)

    def _offer_with_care(self, tag: Tag, body: bytes) -> Outcome:
        """Do as `offer` does, with a look at the bound, and commit the entry before returning."""
        if len(body) > self._body_bytes_max:
            return Outcome.TOO_LARGE
        if self._closed:
            return self._refuse(tag)
        item = (tag, body)
        if self._lock.is_owned():
            return self._promise(item)
        admit = functools.partial(self._admit, item)
        outcome = self._enter(admit, 0.0)
        if outcome is _NOT_HELD and may_wait_here():
            outcome = self._enter(admit, LOCK_PATIENCE_SECONDS)
        return self._promise(item) if outcome is _NOT_HELD else outcome

    def _admit(self, item: Item) -> Outcome:
        """Number an entry and keep it, if there is space."""
        tag, body = item
        accumulator = self._accumulator
        if self._closing:
            return self._refuse(tag)
        if accumulator.bytes_held + len(body) + accumulator.stamp_bytes > self.bytes_max:
            return Outcome.FULL
        if not accumulator.has_room(tag, len(body)):
            return Outcome.FULL
        self._inbox.append(item)
        self._combine()
        return _ACCEPTED

    def _promise(self, item: Item) -> Outcome:
        """Leave an entry to the call that is in the section, or to the next one; without a bound.

        For a call that interrupts another one of its own thread, and for one that must not wait
        any longer.
        """
        if len(self._inbox) >= PROMISES_MAX:
            return self._refuse(item[0])
        self._inbox.append(item)
        if not self._lock.is_owned():
            self._wakeups.wake_now()  # the holder may have looked for the last time
        return self._settled(item) if self._closing else _ACCEPTED

    def _settled(self, item: Item) -> Outcome:
        """Return what became of an item that came while intake ended."""
        if self._lock.is_owned():
            # This call interrupted a section, which may have looked already.
            for index, each in enumerate(self._inbox[:]):
                if each is item:
                    self._inbox[index] = WITHDRAWN
            return self._refuse(item[0])
        self._exclusively(_nothing)  # from here on nothing changes any more
        if any(each is item for each in self._inbox[:]):
            return self._refuse(item[0])
        return _ACCEPTED

    def _refuse(self, tag: Tag) -> Outcome:
        self.note("refused", 1, tag)
        return Outcome.CLOSED

    def _count_notes(self) -> None:
        """Advance the counters by what was noted outside the section."""
        notes = self._notes
        taken = notes[:]
        counters, streams = self.counters, self._accumulator.streams
        totals = {name: getattr(counters, name) for name, _, _ in taken}
        refused = {tag: streams[tag].refused for _, tag, _ in taken if tag in streams}
        for name, tag, amount in taken:
            totals[name] += amount
            if name == "refused" and tag in refused:
                refused[tag] += int(amount)

        def change() -> None:
            for name, total in totals.items():
                setattr(counters, name, total)
            for tag, count in refused.items():
                streams[tag].refused = count
            if notes and notes[0] is taken[0]:
                del notes[: len(taken)]

        self._accumulator.changes.commit(change)

    def _end_intake(self) -> None:
        """Number what was promised a place, then end all streams; may be called again."""
        if not self._closed:
            self._combine()
            if self._inbox[:]:
                return  # no memory, or more has come: the next section goes on
            self._closed = True  # a record appended from here on is refused
        for stream in list(self._accumulator.streams.values()):
            self._accumulator.end(stream, retires=False)
        self._all_ended = True
        self._space_is_free = True  # those who wait are told that there will be none

    def _rest(self) -> float | None:
        """Declare that the shipper rests, then look once more; see `next_deadline_seconds`."""
        accumulator = self._accumulator
        self._wakeups.shipper = Shipper.TIMED if accumulator.open else Shipper.ASLEEP
        if self._next_sealed() is not None:
            return None
        oldest = accumulator.first_to_go(accumulator.open.values())
        if oldest is not None:
            return oldest.opened_seconds + self.linger_seconds
        if not accumulator.open and not self._inbox:
            return None
        self._wakeups.shipper = Shipper.TIMED  # for what waits for its tag, or for memory
        return self._monotonic() + self.linger_seconds

    def _next_sealed(self) -> Chunk | None:
        """Return the oldest sealed chunk that may go."""
        return self._accumulator.first_to_go(self._accumulator.sealed.values())

    def _next_adopted(self) -> Chunk | None:
        """Return the adopted chunk to take next; none while we are closing.

        Where there are none of ours to find room for, there may be as many as the window takes:
        what no server takes is taken and not on its way, and the next one is its only neighbour.
        """
        chunks = list(self._accumulator.adopted.values())
        taken = sum(each.state is ChunkState.TAKEN for each in chunks)
        if self._closing or (self._accumulator.unsettled and taken >= ADOPTED_INFLIGHT_MAX):
            return None
        for each in chunks:
            if each.state is ChunkState.SEALED:
                return each
        return None

    def _give_up(self, chunk: Chunk, reason: str) -> None:
        self._accumulator.give_up(chunk, reason)
        self._space_is_free = True

    def _drop_spilled(self) -> bool:
        accumulator = self._accumulator
        while accumulator.written:
            chunk = accumulator.written[0]
            if chunk.state is ChunkState.SEALED and chunk.stream.end is None:
                self._give_up(chunk, SPILLED_REASON)
                return True
            accumulator.written = accumulator.written[1:]
        return False


def _nothing() -> None:
    pass


def _remove(inbox: list[Item], first: Item, count: int) -> None:
    """Remove so many items from an inbox, unless that was done already."""
    if inbox and inbox[0] is first:
        del inbox[:count]


def _tag_text(item: Item) -> str:
    return item[0] or ""

"""Where accepted records wait: an inbox that any thread appends to, and an accumulator behind it.

A call that logs appends its entry to the inbox. A *combine* moves what waits into chunks, in the
critical section: numbered, stamped and copied by a few calls for all of it. `docs/admission.md`
says when, and why nothing is lost, doubled or torn, whatever interrupts it.

Nothing here waits for long, logs or does I/O; only a spool may make a file, if no segment is
ready.
"""

from __future__ import annotations

import functools
import os
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from logship._buffer.account import account_of, report_of
from logship._buffer.accumulator import Accumulator
from logship._buffer.chunk import Chunk, MemoryStorage, Storage
from logship._buffer.counters import Account, Counters, DrainReport
from logship._buffer.departure import Departure
from logship._buffer.entrance import COMBINE_AT, INBOX_MAX, Entrance, Outcome
from logship._buffer.inbox import Item, Tag
from logship._buffer.losses import Numbered, spilled_after_all
from logship._buffer.section import Section
from logship._buffer.spilling import Spilling
from logship._reasons import OVERFLOW

T = TypeVar("T")


class Buffer:
    """Accepted records on their way to the shipper.

    Args:
        bytes_max: Bytes of entries that may be held. Control records may exceed it by a little, and
            so may one small entry of each thread that logs at the same moment.
        chunk_bytes_max: A chunk is sealed when it has grown to this many bytes.
        linger_seconds: How long an open chunk waits for more.
        stamp_key: The field of the stamp, or None for records without stamps.
        awaited_tag: What the tag None stands for until `resolve_tag`; chunks with it wait for that.
            None where nothing is awaited.
        storage: Where chunks lie; in memory where none is given.
        wake: Called, outside the lock, when the shipper has something to look at. It may be
            called by any thread and from a signal handler, so it must neither block nor raise.
        failed: Told, outside the lock, of a bug that keeps entries from being numbered.
        monotonic: Seconds, for linger.
        time_ns: Nanoseconds since the epoch, for control records.
        random_bytes: As `os.urandom`, for streams' and chunks' ids.
        combine_at, inbox_max, inbox_bytes_max: See `Entrance`.

    Attributes:
        departure: What the shipper takes chunks from.
        note, offer: See `Entrance`.
        spilling: What a spill works with.
    """

    def __init__(  # noqa: PLR0913 - bounds, names, and the parts that tests replace
        self,
        *,
        bytes_max: int,
        chunk_bytes_max: int,
        linger_seconds: float,
        stamp_key: str | None,
        awaited_tag: str | None = None,
        storage: Storage | None = None,
        wake: Callable[[], object] = lambda: None,
        failed: Callable[[Exception], None],
        monotonic: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = os.urandom,
        combine_at: int = COMBINE_AT,
        inbox_max: int = INBOX_MAX,
        inbox_bytes_max: int | None = None,
    ) -> None:
        self.stamp_key = stamp_key
        self._new_storage = functools.partial(MemoryStorage, random_bytes, chunk_bytes_max)
        self._new_accumulator = functools.partial(
            Accumulator,
            chunk_bytes_max=chunk_bytes_max,
            stamp_key=stamp_key,
            awaited_tag=awaited_tag,
            monotonic=monotonic,
            time_ns=time_ns,
            random_bytes=random_bytes,
        )
        accumulator = self._new_accumulator(storage=storage or self._new_storage())
        self._section = Section(accumulator, wake, failed)
        self._entrance = Entrance(
            self._section,
            bytes_max=bytes_max,
            combine_at=combine_at,
            inbox_max=inbox_max,
            inbox_bytes_max=inbox_bytes_max,
        )
        self.offer: Callable[[Tag, bytes], Outcome] = self._entrance.offer
        self.note = self._entrance.note
        self.departure: Departure = Departure(self._section, linger_seconds, monotonic)
        self.spilling: Spilling = Spilling(self._section)

    def have_in_controls(self, fields: Mapping[str, Any]) -> None:
        """Have these fields, which must be plain, in each control record from now on."""
        self._accumulator.have_in_controls(fields)

    # -- producers -----------------------------------------------------------------------------

    def number_and_drop(self, tag: Tag, body: bytes) -> Numbered | None:
        """Number an entry that will not be kept, and note its number as a gap.

        Returns:
            The numbered entry. None where the buffer is closed, the section cannot be entered, or
            one tag more is too many: the record is then counted as refused.
        """

        def drop() -> Numbered | None:
            if self._section.closed:
                return None
            return self._accumulator.number_and_drop(tag, body)

        numbered = self._section.if_soon_free(drop, None)
        if numbered is None:
            self._entrance.refuse(tag)
        return numbered

    def dropped_was_spilled(self, numbered: Numbered) -> None:
        """Count a dropped record as spilled: it reached stderr after all."""

        def count() -> None:
            self._accumulator.changes.commit(spilled_after_all(self.counters, numbered))

        self._section.if_soon_free(count, None)

    def drop_oldest(self) -> bool:
        """Drop the oldest chunk that is not on its way, and declare its numbers.

        Returns:
            Whether there was one.
        """

        def drop() -> bool:
            chunk = self._section.chunks.first_droppable()
            if chunk is None:
                return False
            self._accumulator.give_up(chunk, OVERFLOW)
            return True

        return self._section.if_soon_free(drop, False)

    def when_space(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Arrange for one call of `callback` when bytes come free or intake closes.

        Args:
            callback: Called by any thread, outside the lock; calling it twice must do no harm.

        Returns:
            A function that takes the arrangement back; it may be called in vain.
        """
        return self._section.chunks.waiters.add(callback)

    def number_refused(self) -> str:
        """Return what the line of a refused record is known by, and count the line.

        Counted first: a signal handler that raises in between leaves a line that is missing.
        """
        self.note("refused_lines", 1)
        return self._accumulator.number_refused()

    def tag_of(self, tag: Tag) -> str:
        """Return the route that a tag stands for, as far as it is known now."""
        return self._accumulator.streams.tag_of(tag)

    # -- the shipper ---------------------------------------------------------------------------

    def seal_all(self) -> int:
        """Seal every open chunk, and return the serial up to which all chunks are now sealed.

        A re-entered call seals nothing.
        """
        if self._section.is_owned():
            return self._section.chunks.opened_count
        return self._section.exclusively(self._section.chunks.seal_all)

    def resolve_tag(self, tag: str | None) -> None:
        """See `Streams.resolve_tag`."""
        tag_known = self._section.chunks.storage.tag_known
        streams = self._accumulator.streams
        self._section.exclusively(lambda: streams.resolve_tag(tag, tag_known))
        self._section.wakeups.wake_now()

    def adopt(self, chunk: Chunk) -> None:
        """Ship a chunk of a dead process too."""
        self._section.exclusively(lambda: self._section.chunks.adopt(chunk))

    def exclusively(self, work: Callable[[], T]) -> T:
        """Do something quick in the critical section; see `Section.exclusively`."""
        return self._section.exclusively(work)

    def state_highest(self) -> bool:
        """Write a high-water record; False while the last one is on its way, or intake is closed.

        So an outage leaves one of them in the buffer, not one for each interval.
        """

        def state() -> bool:
            if self._section.closing or self._accumulator.is_stating:
                return False
            self._accumulator.state_highest()
            return True

        return self._section.exclusively(state)

    def settled_through(self) -> int:
        """Return the highest serial such that all chunks up to it are acked or dropped."""

        def settled() -> int:
            serials = [chunk.serial for chunk in self._section.chunks.unsettled.values()]
            return min(serials) - 1 if serials else self._section.chunks.opened_count

        return self._section.exclusively(settled)

    def release(self, chunk: Chunk) -> None:
        """Free a chunk that the sidecar acked, and count its records as acked."""
        self._section.exclusively(lambda: self._accumulator.release(chunk))
        chunk.whole.after_settling()

    def give_up(self, chunk: Chunk, reason: str) -> None:
        """Free a chunk that delivery has forgotten, and declare its numbers as a gap.

        The gap is declared at once, because a kill may come before the next record. It waits for
        the next record where the spool is full, and where it is that of a control record: a server
        that takes none would be asked for ever. The last words of a dead process's stream declare
        its gaps.

        What can be written to stderr is written before this is called: from here on any producer
        may declare the gap, with its reason.
        """
        chunk.whole.before_giving_up(chunk, reason)
        self._section.exclusively(lambda: self._accumulator.give_up(chunk, reason))
        chunk.whole.after_settling()
        if chunk.own_records:
            self._section.exclusively(lambda: self._accumulator.declare_if_kept(chunk.stream))

    def tell_waiters(self) -> None:
        """Tell the calls that wait for space: things have changed, though no space came free."""
        self._section.chunks.waiters.tell()

    # -- closing and the account ---------------------------------------------------------------

    def close_intake(self) -> None:
        """Take no more records; end every stream and seal every chunk. May be called again.

        Called by a signal handler in the middle of a section, it is done when that is.
        """
        self._section.closing = True
        if not self._section.is_owned():
            self._section.exclusively(lambda: None)

    def refuse_rest(self, refused: deque[Item]) -> None:
        """Count what could not be numbered as refused, and append it; intake is closed."""
        self._section.exclusively(lambda: self._section.refuse_rest(refused))

    def after_fork_in_child(self, *, refuses: bool) -> None:
        """In a forked child: begin anew in memory, and keep nothing of the parent's.

        A child that `refuses` takes no records, though intake is not closed.
        """
        accumulator = self._new_accumulator(storage=self._new_storage())
        self._section.begin_anew(accumulator, refuses=refuses)

    @property
    def bytes_max(self) -> int:
        """Bytes of entries that may be held."""
        return self._entrance.bytes_max

    @property
    def intake_closed(self) -> bool:
        """Whether `close_intake` was called."""
        return self._section.closing

    @property
    def is_held_here(self) -> bool:
        """Whether this thread is inside the section: a signal handler that interrupted it asks."""
        return self._section.is_owned()

    @property
    def is_used(self) -> bool:
        """Whether anything was ever logged."""
        counters = self.counters
        waits = len(self._section.inbox) or len(self._section.notes)
        return bool(counters.accepted or counters.refused or waits)

    @property
    def counters(self) -> Counters:
        """What became of the records that were numbered, and of those that were refused."""
        return self._accumulator.counters

    def not_delivered(self) -> int:
        """Return how many records were lost, or written to stderr instead, at one moment."""
        return self._section.exclusively(lambda: self.counters.not_delivered)

    @property
    def chunks_opened(self) -> int:
        """How many chunks were opened so far."""
        return self._section.chunks.opened_count

    @property
    def adopted(self) -> list[Chunk]:
        """Chunks of dead processes that are not settled."""
        return list(self._section.chunks.adopted.values())

    @property
    def bytes_held(self) -> int:
        """Bytes of entries that wait, those in the inbox too."""
        section, accumulator = self._section, self._accumulator
        waiting = 0 if section.closed else section.inbox.bytes(accumulator.stamp_bytes)
        return accumulator.chunks.bytes_held + waiting

    @property
    def unspooled(self) -> int:
        """Records that are in memory though there is a spool; those that wait for it count too."""
        storage = self._section.chunks.storage
        waits = storage.outlives_process and not self._section.closed
        return storage.unspooled + (len(self._section.inbox) if waits else 0)

    @property
    def records_waiting(self) -> int:
        """Records of the application that are neither acked nor dropped."""
        return sum(chunk.records for chunk in self.unsettled()) + self._unnumbered

    @property
    def only_ends_wait(self) -> bool:
        """Whether no record waits, and no gap record: without the rest no number is missing."""
        waits = any(chunk.records or chunk.gaps for chunk in self.unsettled())
        return not waits and not self._unnumbered

    @property
    def is_stuck(self) -> bool:
        """Whether entries wait that could not be numbered when the section was last entered."""
        return self._section.is_stuck

    def unsettled(self) -> list[Chunk]:
        """Return every chunk that is neither acked nor dropped, oldest first."""
        return self._section.exclusively(self._section.chunks.in_order)

    def account(self) -> Account | None:
        """Return the numbers that metrics are made of, in whatever thread wants to know.

        None where the section cannot be entered now.
        """
        return self._section.if_soon_free(
            lambda: account_of(self._accumulator, self.unspooled), None
        )

    def report(self, reason: str, seconds: float) -> DrainReport:
        """Return what became of every record so far."""
        return self._section.exclusively(lambda: report_of(self._section, reason, seconds))

    # -- inside ----------------------------------------------------------------------------------

    @property
    def _unnumbered(self) -> int:
        return 0 if self._section.closed else len(self._section.inbox)

    @property
    def _accumulator(self) -> Accumulator:
        return self._section.accumulator

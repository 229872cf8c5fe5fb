"""Where accepted records wait: admission by exact bytes, numbering, sealing, and the account.

Producers call `offer` from any thread; the shipper calls the rest. One lock guards both sides,
and two things make that harder than it looks:

- A thread may re-enter `offer` in the middle of it, at any bytecode: a signal handler logs, or a
  `__del__` under garbage collection does. A plain lock deadlocks there, an RLock alone lets the
  inner call see half-made state. So the lock is an RLock, and a `busy` flag sends the inner
  call's entry to a deferred list, which the outer call admits before it returns.
- A signal handler may *raise* in the middle of it. So an append does not count until plain
  assignments commit it, and `_repair` cuts off or completes what was half done.

Nothing here waits, logs or does I/O.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from enum import Enum, auto
from itertools import chain
from types import TracebackType
from typing import NamedTuple

from logship.buffer.chunk import Chunk, ChunkState, MemoryStorage, Storage, merge_ranges
from logship.buffer.counters import Counters, DrainReport, StreamReport
from logship.buffer.halves import fill_halves
from logship.buffer.stream import NUMBER_MAX, Gap, Stream
from logship.protocol.entries import pack_control

STREAMS_MAX = 1000
"""Open streams; above it the one that was opened first is ended, so that a tag made of user data
cannot grow the process without bound."""


QUARANTINED_REASON = "quarantined"
"""The word in counters, gaps and reports for a record that no server takes."""


class Outcome(Enum):
    """What became of an offered entry."""

    ACCEPTED = auto()
    FULL = auto()
    CLOSED = auto()


class Burned(NamedTuple):
    """A record that was numbered and not buffered.

    Attributes:
        stream: The stream that gave the number.
        number: The number, already noted as a gap.
        entry: The complete entry, stamp included.
    """

    stream: Stream
    number: int
    entry: bytes


class Buffer:
    """Accepted records on their way to the shipper.

    Args:
        bytes_max: Bytes of entries that may be held; control records may exceed it by a little.
        chunk_bytes_max: A chunk is sealed when it has grown to this many bytes.
        linger_seconds: How long an open chunk waits for more.
        stamp_key: The field of the stamp, or None for records without stamps.
        storage: Where chunks lie; in memory where none is given.
        wake: Called, outside the lock, when the shipper has something to look at. It may be
            called by any thread and from a signal handler, so it must neither block nor raise.
        monotonic: Seconds, for linger.
        time_ns: Nanoseconds since the epoch, for control records.
        random_bytes: As `os.urandom`, for streams' and chunks' ids.
    """

    def __init__(
        self,
        *,
        bytes_max: int,
        chunk_bytes_max: int,
        linger_seconds: float,
        stamp_key: str | None,
        storage: Storage | None = None,
        wake: Callable[[], None] = lambda: None,
        monotonic: Callable[[], float] = time.monotonic,
        time_ns: Callable[[], int] = time.time_ns,
        random_bytes: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.bytes_max = bytes_max
        self.linger_seconds = linger_seconds
        self.counters = Counters()
        self.bytes_held = 0
        self.wake = wake
        self._chunk_bytes_max = chunk_bytes_max
        self._stamp_key = stamp_key
        self._storage = storage or MemoryStorage(random_bytes)
        self._monotonic = monotonic
        self._time_ns = time_ns
        self._random_bytes = random_bytes
        self._lock = threading.RLock()
        self._busy = False
        self._deferred: deque[tuple[str, bytes]] = deque()
        self._closed = False
        self._streams: dict[str, Stream] = {}
        self._ended: list[Stream] = []
        self._open: dict[Stream, Chunk] = {}  # in the order of opening: the first is due first
        self._sealed: deque[Chunk] = deque()
        self._unsettled: dict[str, Chunk] = {}  # by id: every chunk, open ones too
        self._serial = 0
        self._shipper_asleep = True
        self._timer_armed = False
        self._sealed_unseen = False
        self._space_callbacks: list[Callable[[], None]] = []

    # -- producers -----------------------------------------------------------------------------

    def offer(self, tag: str, body: bytes, *, force: bool = False) -> Outcome:
        """Number the entry that begins with `body` and keep it, if there is space.

        Args:
            tag: The route.
            body: A packed entry whose map header counts the stamp, without the stamp.
            force: Take it even where the buffer is full.

        Returns:
            `ACCEPTED`, `FULL` (nothing happened) or `CLOSED` (counted as refused).
        """
        with self._lock:
            if self._busy:
                self._deferred.append((tag, body))
                return Outcome.ACCEPTED
            self._busy = True
            try:
                outcome = self._admit(tag, body, force)
            except BaseException:
                self._repair()
                raise
            finally:
                self._busy = False
            if self._deferred:
                self._admit_deferred()
            if not (self._shipper_asleep and self._wake_is_due()):
                return outcome
        self.wake()
        return outcome

    def burn(self, tag: str, body: bytes, reason: str) -> Burned | None:
        """Number an entry that will not be kept, and note its number as a gap.

        Returns:
            The numbered entry, or None where the buffer is closed or a re-entered call finds the
            numbering in use: the record is then counted as refused.
        """
        with self._lock:
            if self._busy or self._closed:
                self.counters.refused += 1
                return None
            with self._section():
                stream = self._stream(tag)
                number = self._next_number(stream)
                self._note_gap(stream, number, reason)
                suffix = stream.suffix % number if stream.suffix else b""
                return Burned(stream, number, body + suffix)

    def burned_was_spilled(self, burned: Burned, reason: str) -> None:
        """Count a burned record as spilled: it reached stderr after all."""
        with self._lock, self._section():
            self.counters.dropped[reason] -= 1
            self.counters.spilled += 1
            burned.stream.rename_gap(burned.number, "spilled")

    def drop_oldest(self) -> bool:
        """Drop the oldest chunk that is not on its way, and declare its numbers.

        Returns:
            Whether there was one.
        """
        with self._lock:
            if self._busy:
                return False
            with self._section():
                chunk = self._oldest_droppable()
                if chunk is None:
                    return False
                self._drop(chunk)
                callbacks = self._take_space_callbacks()
        self._call(callbacks)
        return True

    def when_space(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Arrange for one call of `callback` when bytes come free or intake closes.

        Returns:
            A function that takes the arrangement back.
        """
        with self._lock, self._section():
            self._space_callbacks = [*self._space_callbacks, callback]
        return lambda: self._forget_space_callback(callback)

    # -- the shipper ---------------------------------------------------------------------------

    def next_deadline_seconds(self) -> float | None:
        """Return when the oldest open chunk is due (monotonic), or None if there is none.

        The caller must arrange to come back then, and look at `has_sealed` once more: producers
        rely on it, and wake him only for what is sealed, or due sooner, from now on.
        """
        with self._lock, self._section():
            self._shipper_asleep = True
            self._sealed_unseen = False
            oldest = next(iter(self._open.values()), None)
            self._timer_armed = oldest is not None
            return None if oldest is None else oldest.opened_seconds + self.linger_seconds

    def seal_due(self, now_seconds: float) -> None:
        """Seal every open chunk that has waited for `linger_seconds`."""
        with self._lock, self._section():
            for chunk in list(self._open.values()):
                if chunk.opened_seconds + self.linger_seconds > now_seconds:
                    break
                self._seal(chunk)

    def seal_all(self) -> int:
        """Seal every open chunk, and return the serial up to which all chunks are now sealed."""
        with self._lock, self._section():
            for chunk in list(self._open.values()):
                self._seal(chunk)
            return self._serial

    def take(self) -> Chunk | None:
        """Hand the oldest sealed chunk to delivery, or return None if there is none."""
        with self._lock, self._section():
            if not self._sealed:
                return None
            chunk = self._sealed[0]
            chunk.state = ChunkState.TAKEN
            self._sealed.popleft()
            return chunk

    def has_sealed(self) -> bool:
        """Tell whether `take` would return a chunk."""
        return bool(self._sealed)

    def settled_through(self) -> int:
        """Return the highest serial such that all chunks up to it are acked or dropped."""
        with self._lock, self._section():
            oldest = min((chunk.serial for chunk in self._unsettled.values()), default=None)
            return self._serial if oldest is None else oldest - 1

    def release(self, chunk: Chunk) -> None:
        """Free a chunk that the sidecar acked, and tell those who wait for space."""
        with self._lock, self._section():
            if chunk.state is ChunkState.SETTLED:
                return
            self.counters.acked += chunk.records
            self._settle(chunk)
            callbacks = self._take_space_callbacks()
        self._call(callbacks)

    def split(self, chunk: Chunk) -> tuple[Chunk, Chunk] | None:
        """Replace a chunk that a server does not take by two halves with ids of their own.

        Returns:
            The halves, taken as the chunk was; None if it holds a single entry.
        """
        with self._lock, self._section():
            if chunk.entries < 2:
                return None
            left, right = (self._storage.open_chunk(chunk.stream, chunk.serial, 0.0) for _ in "12")
            fill_halves(chunk, left, right)
            self._unsettled.update({left.id: left, right.id: right})
            chunk.stream.unsettled += 2
            self.bytes_held += left.size + right.size
            self._settle(chunk)
            return left, right

    def quarantine(self, chunk: Chunk) -> Burned | None:
        """Give up a single record that a server does not take: its number is a gap from now on.

        Returns:
            The record, for the last resort; None if it was one of our own.
        """
        with self._lock, self._section():
            stream, number, entry = chunk.stream, chunk.first, bytes(chunk.data)
            stream.add_gap(Gap(number, chunk.last, QUARANTINED_REASON))
            stream.declare_later(chunk.gaps)
            self.counters.dropped[QUARANTINED_REASON] += chunk.records
            is_own = chunk.records == 0
            self._settle(chunk)
            callbacks = self._take_space_callbacks()
        self._call(callbacks)
        return None if is_own else Burned(stream, number, entry)

    # -- closing and the account ---------------------------------------------------------------

    def close_intake(self) -> None:
        """Take no more records; end every stream and seal every chunk. May be called again."""
        with self._lock, self._section():
            if self._closed:
                return
            self._closed = True
            for stream in list(self._streams.values()):
                self._end(stream)
            callbacks = self._take_space_callbacks()
        self._call(callbacks)
        self.wake()

    @property
    def intake_closed(self) -> bool:
        """Whether `close_intake` was called."""
        return self._closed

    @property
    def records_waiting(self) -> int:
        """Records of the application that are neither acked nor dropped."""
        with self._lock, self._section():
            return sum(chunk.records for chunk in self._unsettled.values())

    def unsettled(self) -> list[Chunk]:
        """Return every chunk that is neither acked nor dropped, oldest first."""
        with self._lock, self._section():
            return sorted(self._unsettled.values(), key=lambda chunk: (chunk.serial, chunk.first))

    def note_spilled(self, chunk: Chunk, entries: int, records: int) -> None:
        """Note that the chunk's first `entries`, `records` of them not control, went to stderr."""
        with self._lock, self._section():
            chunk.spilled_entries = entries
            chunk.spilled_records = records

    def report(self, reason: str, seconds: float) -> DrainReport:
        """Return what became of every record so far."""
        with self._lock, self._section():
            waiting = list(self._unsettled.values())
            counters = self.counters
            spilled = sum(chunk.spilled_records for chunk in waiting)
            return DrainReport(
                reason=reason,
                seconds=seconds,
                accepted=counters.accepted,
                acked=counters.acked,
                spooled=0,
                spilled=counters.spilled + spilled,
                dropped=sum(counters.dropped.values()),
                unacked=sum(chunk.records for chunk in waiting) - spilled,
                refused=counters.refused,
                truncated=counters.truncated,
                streams=tuple(
                    _stream_report(stream, waiting)
                    for stream in (*self._ended, *self._streams.values())
                ),
            )

    # -- inside the critical section -------------------------------------------------------------

    def _section(self) -> _Section:
        return _Section(self)

    def _admit(self, tag: str, body: bytes, force: bool) -> Outcome:
        stream = self._streams.get(tag)
        if self._closed:
            return self._refuse(stream)
        if stream is None:
            stream = self._stream(tag)
        number = stream.next_number
        suffix = stream.suffix % number if stream.suffix else b""
        size = len(body) + len(suffix)
        held = self.bytes_held + size
        if held > self.bytes_max and not force:
            return Outcome.FULL
        if stream.undeclared or number >= NUMBER_MAX:
            self._before_next_entry(stream)
            return self._admit(tag, body, True)
        chunk = stream.chunk
        if chunk is None or chunk.size + size > self._chunk_bytes_max:
            chunk = self._chunk_for(stream, size)
        chunk.append(body, suffix)
        # The commit: plain assignments, between which no signal handler can run.
        chunk.size += size
        chunk.entries += 1
        chunk.records += 1
        chunk.last = number
        stream.next_number = number + 1
        stream.accepted += 1
        self.counters.accepted += 1
        self.bytes_held += size
        if chunk.size >= self._chunk_bytes_max:
            self._seal(chunk)
        return Outcome.ACCEPTED

    def _refuse(self, stream: Stream | None) -> Outcome:
        self.counters.refused += 1
        if stream is not None:
            stream.refused += 1
        return Outcome.CLOSED

    def _stream(self, tag: str) -> Stream:
        """Return the tag's stream, opening it if need be."""
        stream = self._streams.get(tag)
        if stream is None:
            if len(self._streams) >= STREAMS_MAX:
                self._end(next(iter(self._streams.values())))
            stream = self._streams[tag] = Stream(tag, self._stamp_key, self._random_bytes)
        return stream

    def _next_number(self, stream: Stream) -> int:
        """Give out a number to a record that is not put into a chunk."""
        number = stream.next_number
        stream.next_number = number + 1
        stream.accepted += 1
        self.counters.accepted += 1
        if stream.chunk is not None:
            stream.chunk.skip(number)
        return number

    def _note_gap(self, stream: Stream, number: int, reason: str) -> None:
        self.counters.dropped[reason] += 1
        stream.add_gap(Gap(number, number, reason))

    def _before_next_entry(self, stream: Stream) -> None:
        """Declare what was lost since the last entry, or begin a new stream at the last number."""
        if stream.next_number >= NUMBER_MAX - len(stream.undeclared) - 1:
            self._end(stream)
        else:
            self._declare_gaps(stream)

    def _declare_gaps(self, stream: Stream) -> None:
        """Write a gap record for each range of numbers that will not arrive."""
        gaps, stream.undeclared = stream.undeclared, []
        if self._stamp_key is None:
            return
        for gap in gaps:
            text = "logship: records will not arrive"
            self._add_control(stream, {"message": text, "logship_gap": list(gap)})
            assert stream.chunk is not None
            stream.chunk.gaps.append(gap)

    def _end(self, stream: Stream) -> None:
        """Write the stream's end record and seal its chunk."""
        self._declare_gaps(stream)
        if self._stamp_key is not None:
            stream.end = stream.next_number
            self._add_control(
                stream,
                {
                    "message": "logship: stream closed",
                    "logship_end": True,
                    "logship_accepted": stream.accepted,
                    "logship_refused": stream.refused,
                },
            )
        if stream.chunk is not None:
            self._seal(stream.chunk)
        if self._closed:
            return  # the stream stays where `_refuse` and the report find it
        del self._streams[stream.tag]
        self._ended = [each for each in self._ended if each.unsettled or each.lost] + [stream]

    def _add_control(self, stream: Stream, fields: dict[str, object]) -> None:
        """Append one of our own records; it may exceed the bound by its few bytes."""
        number = stream.next_number
        body = pack_control(fields, self._time_ns())
        suffix = stream.suffix % number
        size = len(body) + len(suffix)
        chunk = stream.chunk
        if chunk is None or chunk.size + size > self._chunk_bytes_max:
            chunk = self._chunk_for(stream, size)
        chunk.append(body, suffix)
        chunk.size += size
        chunk.entries += 1
        chunk.last = number
        stream.next_number = number + 1
        self.bytes_held += size

    def _chunk_for(self, stream: Stream, size: int) -> Chunk:
        """Return the stream's chunk that has room for `size` bytes, opening one if need be."""
        if stream.chunk is not None:
            self._seal(stream.chunk)
        self._serial += 1
        chunk = self._storage.open_chunk(stream, self._serial, self._monotonic())
        self._unsettled[chunk.id] = chunk
        self._open[stream] = chunk
        stream.chunk = chunk
        stream.unsettled += 1
        return chunk

    def _seal(self, chunk: Chunk) -> None:
        """Move an open chunk to the sealed ones; may be called again to complete it."""
        if chunk.entries == 0:
            self._settle(chunk)
            return
        if chunk.state is ChunkState.OPEN:
            self._sealed.append(chunk)
            chunk.state = ChunkState.SEALED
            self._sealed_unseen = True
        if self._open.get(chunk.stream) is chunk:
            del self._open[chunk.stream]
        if chunk.stream.chunk is chunk:
            chunk.stream.chunk = None

    def _settle(self, chunk: Chunk) -> None:
        """Forget a chunk that is acked or dropped."""
        if self._open.get(chunk.stream) is chunk:
            del self._open[chunk.stream]
            chunk.stream.chunk = None
        chunk.state = ChunkState.SETTLED
        if self._unsettled.pop(chunk.id, None) is not None:
            self.bytes_held -= chunk.size
            chunk.stream.unsettled -= 1
        self._storage.release(chunk)

    def _oldest_droppable(self) -> Chunk | None:
        """Return the oldest chunk that is not on its way and does not hold a stream's end."""
        candidates = chain(self._sealed, self._open.values())
        return next((each for each in candidates if each.entries and not _holds_end(each)), None)

    def _drop(self, chunk: Chunk) -> None:
        """Drop a chunk that is not on its way: its numbers are a gap from now on."""
        stream = chunk.stream
        if chunk.state is ChunkState.SEALED:
            self._sealed.remove(chunk)
        for first, last in chunk.ranges():
            stream.add_gap(Gap(first, last, "overflow"))
        stream.declare_later(chunk.gaps)  # the records that declared them are dropped with it
        self.counters.dropped["overflow"] += chunk.records
        self._settle(chunk)

    def _wake_is_due(self) -> bool:
        """Tell, once, whether a sleeping shipper has a chunk to send or a timer to arm."""
        if self._sealed_unseen or (
            self._open and (not self._timer_armed or self.linger_seconds == 0)
        ):
            self._shipper_asleep = False
            return True
        return False

    def _admit_deferred(self) -> None:
        """Admit what re-entered calls left; they were promised a place, so there is no bound."""
        while self._deferred:
            tag, body = self._deferred[0]
            self._busy = True
            try:
                self._admit(tag, body, True)
                self._deferred.popleft()
            except BaseException:
                self._repair()
                raise
            finally:
                self._busy = False

    def _repair(self) -> None:
        """Undo or complete what an exception interrupted: a signal handler may raise anywhere."""
        for chunk in list(self._unsettled.values()):
            if chunk in self._sealed:
                chunk.state = ChunkState.SEALED
                self._seal(chunk)
            elif chunk.state is ChunkState.OPEN:
                chunk.cut_uncommitted()
                self._open.setdefault(chunk.stream, chunk)
                chunk.stream.chunk = chunk
            elif chunk.state is ChunkState.SETTLED:
                self._settle(chunk)
        self.bytes_held = sum(chunk.size for chunk in self._unsettled.values())

    def _take_space_callbacks(self) -> list[Callable[[], None]]:
        callbacks, self._space_callbacks = self._space_callbacks, []
        return callbacks

    def _forget_space_callback(self, callback: Callable[[], None]) -> None:
        with self._lock, self._section():
            self._space_callbacks = [each for each in self._space_callbacks if each is not callback]

    @staticmethod
    def _call(callbacks: Iterable[Callable[[], None]]) -> None:
        for callback in callbacks:
            callback()


class _Section:
    """The critical section of everything but `offer`, which is written out for speed.

    Entered with the lock held. It may be nested: only the outermost one clears `busy`, repairs
    and admits what re-entered calls deferred.
    """

    __slots__ = ("_buffer", "_outermost")

    def __init__(self, buffer: Buffer) -> None:
        self._buffer = buffer
        self._outermost = False

    def __enter__(self) -> None:
        self._outermost = not self._buffer._busy
        self._buffer._busy = True

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not self._outermost:
            return
        if kind is not None:
            self._buffer._repair()
        self._buffer._busy = False
        if self._buffer._deferred:
            self._buffer._admit_deferred()


def _holds_end(chunk: Chunk) -> bool:
    return chunk.stream.end == chunk.last


def _stream_report(stream: Stream, waiting: list[Chunk]) -> StreamReport:
    spilled = stream.lost_ranges("spilled")
    unacked = []
    for chunk in waiting:
        if chunk.stream is stream:
            chunk_spilled, chunk_unacked = chunk.split_ranges()
            spilled.extend(chunk_spilled)
            unacked.extend(chunk_unacked)
    return StreamReport(
        stream=stream.id,
        tag=stream.tag,
        last=stream.next_number - 1,
        end=stream.end,
        accepted=stream.accepted,
        refused=stream.refused,
        spilled=merge_ranges(spilled),
        dropped=[(*gap,) for gap in stream.lost if gap.reason != "spilled"],
        unacked=merge_ranges(unacked),
        spooled=[],
    )

"""Where accepted records wait: admission by exact bytes, numbering, sealing, and the account.

Producers call `offer` from any thread; the shipper calls the rest. One lock guards both sides,
and two things make that harder than it looks:

- A thread may re-enter `offer` in the middle of it, at any bytecode: a signal handler logs, or a
  `__del__` under garbage collection does. A plain lock deadlocks there, an RLock alone lets the
  inner call see half-made state. So the lock is an RLock, and a call that finds it owned by its
  own thread leaves its entry in a deferred list, which the outer call admits before it returns.
- A signal handler may *raise* in the middle of it, at every point where the interpreter looks for
  signals: where a function begins, after a call, at the end of a loop's turn. So every change is
  prepared first and committed by plain assignments, among which there is no such point; `_torn`
  is set meanwhile, and whoever comes next and finds it set calls `_repair`. A flag cleared in a
  `finally` or an `__exit__` would not do, because a signal may raise at the beginning of those.

- A lock costs as much as everything else that an accepted record needs. So most records take a
  lane (see `offer`): the open chunk of their tag, into which they are put by a run of plain
  assignments, which the interpreter's own lock keeps in one piece. A section closes all lanes
  before it does anything, and only `offer`'s own section opens them again.
  See `docs/decisions/014-lanes.md`.

Nothing here waits, logs or does I/O.
"""

from __future__ import annotations

import functools
import os
import sys
import threading
import time
from bisect import bisect_right
from collections import Counter, deque
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from enum import Enum, auto
from itertools import accumulate, chain
from operator import attrgetter
from typing import Concatenate, Literal, NamedTuple, ParamSpec, TypeVar

from logship.buffer.chunk import (
    ONE_ENTRY,
    Chunk,
    ChunkState,
    HalfChunk,
    MemoryStorage,
    Ranges,
    Storage,
    merge_ranges,
    new_chunk_id,
)
from logship.buffer.counters import Account, Counters, DrainReport, StreamReport
from logship.buffer.halves import fill_halves
from logship.buffer.stream import (
    ROLLOVER_NUMBER,
    Gap,
    Stream,
    lane_suffix_sizes,
    merge_gaps,
    renamed_gaps,
    suffix_bytes,
)
from logship.protocol.bodies import Bodies
from logship.protocol.entries import pack_control

STREAMS_MAX = 1000
"""Open streams; above it the one that was opened first is ended, so that a tag made of user data
cannot grow the process without bound."""


OVERFLOW_REASON = "overflow"
"""The word in counters, gaps and reports for a record that found no place in the buffer."""

QUARANTINED_REASON = "quarantined"
"""The same for a record that no server takes."""

SPILLED_REASON = "spilled"
"""The same for a record that went to stderr."""


DEFAULT_ROUTE = ""
"""What producers name where the tag of records that name none is not known at first."""

LANES_MAX = 8
"""Where there are more open chunks, only the one that was written to last has a lane."""

NO_LANES: dict[str, Chunk] = {}

ADOPTED_INFLIGHT_MAX = 2
"""Chunks of dead processes on their way at a time: ours must find room in the window."""


class Outcome(Enum):
    """What became of an offered entry."""

    ACCEPTED = auto()
    FULL = auto()
    CLOSED = auto()
    TOO_LARGE = auto()


_ACCEPTED = Outcome.ACCEPTED

_ASSIGNMENTS_ARE_ONE: bool = (
    sys.implementation.name == "cpython" and getattr(sys, "_is_gil_enabled", lambda: True)()
)
"""Whether a thread keeps the interpreter through a run of plain assignments."""

ALLOCATIONS_COLLECT = sys.version_info < (3, 12)
"""Whether to make a container may run a garbage collection on the spot, and so any `__del__`."""


def is_traced() -> bool:
    """Tell whether a debugger or the like may run Python between any two instructions.

    Or a profiler, between a call and what is called. In this thread, or in all that begin.
    """
    monitoring = getattr(sys, "monitoring", None)  # since 3.12
    return (
        sys.gettrace() is not None
        or sys.getprofile() is not None
        or threading.gettrace() is not None
        or threading.getprofile() is not None
        or (monitoring is not None and any(map(monitoring.get_tool, _WATCHING_TOOLS)))
    )


_WATCHING_TOOLS = range(6)
"""The numbers that `sys.monitoring` gives to debuggers, coverage, profilers and others."""

_CLOSING: Literal["closing"] = "closing"
"""In the deferred list: intake is to be closed, as soon as the interrupted call is done."""

P = ParamSpec("P")
T = TypeVar("T")


LOCK_PATIENCE_SECONDS = 0.02
"""So long a producer waits for the lock. Its holder may be in a garbage collection that runs an
application's `__del__`, which may want a lock that this very producer holds: waiting on would be a
deadlock. A section takes microseconds, so nobody waits for so long in any other case."""


class BufferBusy(Exception):  # noqa: N818 - a state, and never seen outside of this package
    """A producer lost its patience with the lock; nothing was done."""


def _section(method: Callable[Concatenate[Buffer, P], T]) -> Callable[Concatenate[Buffer, P], T]:
    """Make `method` a critical section of the shipper's; `offer` is one too, written out for speed.

    Called from inside another section of the same thread, it simply runs. Whoever is to be told
    of what happened is told outside the lock.
    """
    return _section_under(attrgetter("_lock"), method)


def _producer_section(
    method: Callable[Concatenate[Buffer, P], T],
) -> Callable[Concatenate[Buffer, P], T]:
    """Make `method` a critical section that raises `BufferBusy` instead of waiting for long."""
    return _section_under(attrgetter("_patient_lock"), method)


def _section_under(
    lock_of: Callable[[Buffer], AbstractContextManager[bool]],
    method: Callable[Concatenate[Buffer, P], T],
) -> Callable[Concatenate[Buffer, P], T]:
    """Make `method` a critical section under one of a buffer's locks.

    In one function, since the shipper comes by here several times for each chunk.
    """

    @functools.wraps(method)
    def section(self: Buffer, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if self._is_reentered():
            return method(self, *args, **kwargs)
        held = False
        try:
            with lock_of(self) as held:
                if held:
                    if self._lanes or self._left_lanes:
                        self._close_lanes()
                    if self._torn:
                        self._repair()
                    self._torn = True
                    result = method(self, *args, **kwargs)
                    if self._deferred:
                        self._admit_deferred()
                    wakes = self._look_again and self._shipper_asleep and self._wake_is_due()
                    self._torn = self._look_again = False
            if wakes or self._due_callbacks:
                self._tell(wakes)
        except RuntimeError:
            if not held:
                raise BufferBusy from None
            self._wake_to_be_sure()
            raise
        except BaseException:
            self._wake_to_be_sure()
            raise
        return result

    return section


def _patient(lock: threading.RLock) -> AbstractContextManager[bool]:
    """Return a context of `lock` whose entry is False where the lock was not to be had in time.

    Leaving it raises RuntimeError then, since there is nothing to release. All of it is C: between
    a method in Python that takes the lock and the `with` block a signal handler could raise, and
    the lock would never be released.
    """
    enter = functools.partial(lock.acquire, True, LOCK_PATIENCE_SECONDS)
    methods = {"__enter__": staticmethod(enter), "__exit__": staticmethod(lock.__exit__)}
    context: AbstractContextManager[bool] = type("PatientLock", (), methods)()
    return context


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
        body_bytes_max: A longer entry is turned away as `TOO_LARGE`, for the caller to cut it.
        linger_seconds: How long an open chunk waits for more.
        stamp_key: The field of the stamp, or None for records without stamps.
        awaited_tag: What the tag under `DEFAULT_ROUTE` is until `resolve_tag`; chunks with it wait
            for that. None where there is nothing to wait for.
        storage: Where chunks lie; in memory where none is given.
        wake: Called, outside the lock, when the shipper has something to look at. It may be
            called by any thread and from a signal handler, so it must neither block nor raise.
        monotonic: Seconds, for linger.
        time_ns: Nanoseconds since the epoch, for control records.
        random_bytes: As `os.urandom`, for streams' and chunks' ids.
    """

    __slots__ = (  # a dictionary of so many attributes is slower
        "__weakref__",
        "_adopted",
        "_all_ended",
        "_awaits_tag",
        "_body_bytes_max",
        "_bytes_counted",
        "_chunk_bytes_max",
        "_closed",
        "_default_tag",
        "_deferred",
        "_deferred_begun_at",
        "_due_callbacks",
        "_ended",
        "_is_provisional",
        "_is_reentered",
        "_lanes",
        "_left_lanes",
        "_lock",
        "_look_again",
        "_monotonic",
        "_open",
        "_patient_lock",
        "_random_bytes",
        "_sealed",
        "_sealed_unseen",
        "_shipper_asleep",
        "_space_callbacks",
        "_stamp_key",
        "_storage",
        "_streams",
        "_suffix_bytes",
        "_time_ns",
        "_timer_armed",
        "_torn",
        "_unsettled",
        "_written",
        "bytes_max",
        "chunks_opened",
        "counters",
        "lane_suffix_sizes",
        "linger_seconds",
        "wake",
    )

    def __init__(  # noqa: PLR0913 - bounds, names, and the four parts that tests replace
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
    ) -> None:
        self.bytes_max = bytes_max
        self.linger_seconds = linger_seconds
        self.counters = Counters()
        self._bytes_counted = 0
        self.wake = wake
        self._chunk_bytes_max = chunk_bytes_max
        self._body_bytes_max = body_bytes_max
        self._stamp_key = stamp_key
        self._default_tag = awaited_tag or DEFAULT_ROUTE
        self._is_provisional = self._awaits_tag = awaited_tag is not None
        self._suffix_bytes = suffix_bytes(stamp_key)
        self.lane_suffix_sizes = lane_suffix_sizes(stamp_key)
        self._storage = storage or MemoryStorage(random_bytes, chunk_bytes_max)
        self._monotonic = monotonic
        self._time_ns = time_ns
        self._random_bytes = random_bytes
        self._lock = threading.RLock()
        # Not in the documentation, but what `threading.Condition` asks of its lock.
        self._is_reentered: Callable[[], bool] = self._lock._is_owned  # type: ignore[attr-defined]
        self._patient_lock = _patient(self._lock)
        self._torn = False
        self._lanes = NO_LANES  # by tag; replaced, never changed
        self._left_lanes = NO_LANES  # closed, and what they took is not counted yet
        self._deferred: deque[tuple[str, bytes] | Literal["closing"]] = deque()
        self._deferred_begun_at: int | None = None
        self._closed = False
        self._all_ended = False
        self._streams: dict[str, Stream] = {}
        self._ended: list[Stream] = []
        self._open: dict[Stream, Chunk] = {}  # in the order of opening: the first is due first
        self._sealed: deque[Chunk] = deque()
        self._written: deque[Chunk] = deque()  # wholly on stderr
        self._unsettled: dict[str, Chunk] = {}  # by id: every chunk of ours, open ones too
        self._adopted: dict[str, Chunk] = {}  # of dead processes, none of our account
        self.chunks_opened = 0
        self._shipper_asleep = True
        self._timer_armed = False
        self._sealed_unseen = False
        self._look_again = False
        self._space_callbacks: list[Callable[[], None]] = []
        self._due_callbacks: list[Callable[[], None]] = []

    @property
    def bytes_held(self) -> int:
        """Bytes of entries that wait; while another thread counts, a lane more or less."""
        lanes = self._lanes or self._left_lanes
        return self._bytes_counted + sum(each.size - each.lane_size for each in lanes.values())

    # -- producers -----------------------------------------------------------------------------

    def offer(self, tag: str, body: bytes) -> Outcome:
        """Number the entry that begins with `body` and keep it, if there is space.

        Args:
            tag: The route.
            body: A packed entry whose map header counts the stamp, without the stamp.

        Returns:
            `ACCEPTED`, `FULL` or `TOO_LARGE` (nothing happened), or `CLOSED` (counted as refused).
        """
        lanes = self._lanes
        try:
            chunk = lanes[tag]
            stream = chunk.stream
            number = stream.next_number
            suffix = chunk.lane_suffix + chunk.lane_digits[number - chunk.lane_number]
        except (KeyError, IndexError):
            return self._offer(tag, body)
        entry = body + suffix
        begin = chunk.size
        size = end = begin + len(entry)
        if size > chunk.lane_bytes_max:
            return self._offer(tag, body)
        words = chunk.words
        if words is not None:
            word = (chunk.entries + number - chunk.last) * ONE_ENTRY + size
            begin += chunk.payload_at
            end += chunk.payload_at
        place = slice(begin, end) if ALLOCATIONS_COLLECT else None
        try:
            # From here to the return there is no call, no turn of a loop and no new container that
            # could begin a collection: no thread, signal handler or `__del__` comes in between.
            if self._lanes is lanes and stream.next_number == number and not self._deferred:
                if place is None:
                    chunk.mapping[begin:end] = entry
                else:
                    chunk.mapping[place] = entry
                if words is not None:
                    words[chunk.commit_index] = word
                chunk.size = size
                stream.next_number = number + 1
                self.counters.accepted += 1
                return _ACCEPTED
        except BaseException:  # no memory, or the mapping is closed
            self._torn = True
            self._left_lanes, self._lanes = lanes, NO_LANES
            self._wake_to_be_sure()
            raise
        return self._offer(tag, body)

    def offer_many(self, tag: str, bodies: Bodies, begin: int = 0) -> tuple[int, Outcome]:
        """Offer entries one after the other, until one finds no place.

        Args:
            tag: The route of all of them.
            bodies: Each as of `offer`.
            begin: Which of them is the first.

        Returns:
            How many of them, from that one on, were accepted; and what `offer` said of the next
            one, `ACCEPTED` where there is none.
        """
        at = begin
        while at < bodies.count:
            by_lane = self._put_in_lane(tag, bodies, at)
            at += by_lane
            if not by_lane:
                outcome = self._offer(tag, bodies[at])  # which opens a lane for the others
                if outcome is not _ACCEPTED:
                    return at - begin, outcome
                at += 1
        return at - begin, _ACCEPTED

    def _put_in_lane(self, tag: str, bodies: Bodies, at: int) -> int:
        """Put these entries, from the one `at` on, into the tag's lane at once; return how many.

        As many as it has room and digits for; none where there is no lane, or somebody comes in
        between. All that `offer` says of lanes holds here.
        """
        lanes = self._lanes
        chunk = lanes.get(tag)
        if chunk is None:
            return 0
        stream, size = chunk.stream, chunk.size
        number = stream.next_number
        first = number - chunk.lane_number
        fitting = self._fitting(bodies, at, chunk.lane_bytes_max - size)
        digits = chunk.lane_digits[first : first + fitting]
        data = bodies.stamped(at, chunk.lane_suffix, digits)
        count = len(digits)
        if not count:
            return 0
        begin = chunk.payload_at + size
        size += len(data)
        end = chunk.payload_at + size
        place = slice(begin, end) if ALLOCATIONS_COLLECT else None
        words = chunk.words
        if words is not None:
            word = (chunk.entries + number - chunk.last + count - 1) * ONE_ENTRY + size
        try:
            # As in `offer`: nobody comes in between from here to the return.
            if self._lanes is lanes and stream.next_number == number and not self._deferred:
                if place is None:
                    chunk.mapping[begin:end] = data
                else:
                    chunk.mapping[place] = data
                if words is not None:
                    words[chunk.commit_index] = word
                chunk.size = size
                stream.next_number = number + count
                self.counters.accepted += count
                return count
        except BaseException:  # no memory, or the mapping is closed
            self._torn = True
            self._left_lanes, self._lanes = lanes, NO_LANES
            self._wake_to_be_sure()
            raise
        return 0

    def _fitting(self, bodies: Bodies, at: int, room: int) -> int:
        """Return how many of these entries, from the one `at` on, have at most `room` bytes."""
        each, count = self._suffix_bytes, bodies.count - at
        if bodies.size + each * count <= room:
            return count
        return bisect_right([*accumulate(size + each for size in bodies.sizes(at))], room)

    def _offer(self, tag: str, body: bytes) -> Outcome:
        """Do as `offer` does, in a critical section, and open the lanes for those to come."""
        if len(body) > self._body_bytes_max:
            return Outcome.TOO_LARGE
        if self._is_reentered():
            return self.defer(tag, body)
        held = False
        try:
            with self._patient_lock as held:
                if held:
                    if self._lanes or self._left_lanes:
                        self._close_lanes()
                    if self._torn:
                        self._repair()
                    self._torn = True
                    if self._deferred:
                        self._admit_deferred()  # first, so that a thread's records keep their order
                    outcome = self._refuse(tag) if self._closed else self._admit(tag, body, False)
                    if self._deferred:
                        self._admit_deferred()
                    wakes = self._shipper_asleep and self._wake_is_due()
                    self._lanes = self._lanes_to_open(tag)
                    self._torn = False
            if wakes or self._due_callbacks:
                self._tell(wakes)
        except RuntimeError:
            if not held:
                return self.defer(tag, body)
            self._wake_to_be_sure()
            raise
        except BaseException:
            self._wake_to_be_sure()
            raise
        return outcome

    def defer(self, tag: str, body: bytes) -> Outcome:
        """Leave the entry to whoever holds the lock, or takes it next; there is no bound.

        For a call that interrupts another one of its own thread, and for one that must not wait
        for the lock any longer.
        """
        if self._closed:
            return self._refuse(tag)
        self._deferred.append((tag, body))
        if not self._is_reentered():
            self._wake_to_be_sure()  # the holder may have looked for the last time
        return Outcome.ACCEPTED

    def burn(self, tag: str, body: bytes, reason: str) -> Burned | None:
        """Number an entry that will not be kept, and note its number as a gap.

        Returns:
            The numbered entry, or None where the buffer is closed, a re-entered call finds the
            numbering in use, or one tag more is too many: the record is then counted as refused.
        """
        if self._is_reentered():
            self._refuse(tag)
            return None
        return self._burn(tag, body, reason)

    @_producer_section
    def _burn(self, tag: str, body: bytes, reason: str) -> Burned | None:
        if self._closed or (tag not in self._streams and len(self._streams) >= STREAMS_MAX):
            self._refuse(tag)
            return None
        stream = self._stream(tag)
        number = stream.next_number
        gap = [Gap(number, number, reason)]
        lost, undeclared = merge_gaps(stream.lost, gap), merge_gaps(stream.undeclared, gap)
        chunk = stream.chunk
        holes = merge_ranges([*chunk.holes, (number, number)]) if chunk is not None else []
        dropped = self.counters.dropped[reason] + 1
        self._storage.number_burned(stream, number)
        # The commit.
        stream.next_number = number + 1
        stream.lost, stream.undeclared = lost, undeclared
        if chunk is not None:
            chunk.holes = holes
        stream.accepted += 1
        self.counters.accepted += 1
        self.counters.dropped[reason] = dropped
        return Burned(stream, number, body + stream.suffix_of(number))

    @_producer_section
    def burned_was_spilled(self, burned: Burned, reason: str) -> None:
        """Count a burned record as spilled: it reached stderr after all."""
        stream = burned.stream
        lost = renamed_gaps(stream.lost, burned.number, SPILLED_REASON)
        undeclared = renamed_gaps(stream.undeclared, burned.number, SPILLED_REASON)
        dropped = self.counters.dropped[reason] - 1
        # The commit.
        stream.lost, stream.undeclared = lost, undeclared
        self.counters.dropped[reason] = dropped
        self.counters.spilled += 1

    def drop_oldest(self) -> bool:
        """Drop the oldest chunk that is not on its way, and declare its numbers.

        Returns:
            Whether there was one.
        """
        return False if self._is_reentered() else self._drop_oldest()

    @_producer_section
    def _drop_oldest(self) -> bool:
        chunk = self._oldest_droppable()
        if chunk is None:
            return False
        if chunk.state is ChunkState.SEALED:
            self._sealed.remove(chunk)
        is_spilled = chunk.spilled_entries == chunk.entries
        self._give_up(chunk, SPILLED_REASON if is_spilled else OVERFLOW_REASON)
        return True

    def drop_spilled(self) -> bool:
        """Drop the oldest chunk that is wholly on stderr and not on its way; it counts as spilled.

        Returns:
            Whether there was one.
        """
        return bool(self._written) and not self._is_reentered() and self._drop_spilled()

    @_producer_section
    def _drop_spilled(self) -> bool:
        while self._written:
            chunk = self._written[0]
            if chunk.state is ChunkState.SEALED and chunk.stream.end is None:
                self._sealed.remove(chunk)
                self._give_up(chunk, SPILLED_REASON)
                return True
            self._written.popleft()
        return False

    @_producer_section
    def when_space(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Arrange for one call of `callback` when bytes come free or intake closes.

        Args:
            callback: Called by any thread, outside the lock; calling it twice must do no harm.

        Returns:
            A function that takes the arrangement back.
        """
        self._space_callbacks = [*self._space_callbacks, callback]
        return lambda: self._forget_space_callback(callback)

    # -- the shipper ---------------------------------------------------------------------------

    @_section
    def next_deadline_seconds(self) -> float | None:
        """Return when the oldest open chunk is due (monotonic), or None if there is none.

        None is due while sealed chunks wait: see `seal_due`. The caller must arrange to come back
        then, and look at `has_sealed` once more: producers rely on it, and wake him only for what
        is sealed, or opened with no such time arranged, from now on. Who makes `linger_seconds`
        shorter must wake him as well.
        """
        self._shipper_asleep = True
        self._sealed_unseen = False
        oldest = self._first_to_go(self._open.values())
        self._timer_armed = oldest is not None
        if oldest is None or self._next_sealed() is not None:
            return None
        return oldest.opened_seconds + self.linger_seconds

    @_section
    def seal_due(self, now_seconds: float) -> None:
        """Seal every open chunk that has waited for `linger_seconds`.

        None while sealed chunks wait to be taken: it would leave no sooner, and can grow instead.
        Otherwise a stopping client, which hardly lingers, would fill its buffer with chunks of a
        few records while the sidecar is slow or away.
        """
        if self._next_sealed() is not None:
            return
        for chunk in list(self._open.values()):
            if self._is_held(chunk):
                continue
            if chunk.opened_seconds + self.linger_seconds > now_seconds:
                break
            chunk.stream.fills_chunks = False
            self._seal(chunk)

    def seal_all(self) -> int:
        """Seal every open chunk, and return the serial up to which all chunks are now sealed.

        A re-entered call seals nothing.
        """
        return self.chunks_opened if self._is_reentered() else self._seal_all()

    @_section
    def _seal_all(self) -> int:
        for chunk in list(self._open.values()):
            self._seal(chunk)
        return self.chunks_opened

    @_section
    def take(self) -> Chunk | None:
        """Hand the oldest sealed chunk to delivery, or return None if there is none.

        Adopted ones wait until there is none of ours, and are few at a time, so that ours find
        room in the window.
        """
        chunk = self._next_sealed()
        if chunk is None:
            return self._take_adopted()
        self._sealed.remove(chunk)  # a repair puts it back, as long as it is SEALED
        chunk.state = ChunkState.TAKEN
        return chunk

    @property
    def is_held_here(self) -> bool:
        """Whether this thread is inside the buffer: a signal handler that interrupted it asks."""
        return self._is_reentered()

    def has_sealed(self) -> bool:
        """Tell whether `take` would return a chunk."""
        has_own = self._has_sealed_beside_held() if self._awaits_tag else bool(self._sealed)
        return has_own or (bool(self._adopted) and self._next_adopted() is not None)

    @_section
    def _has_sealed_beside_held(self) -> bool:
        return self._next_sealed() is not None

    @_section
    def resolve_tag(self, tag: str | None) -> None:
        """Let those chunks go that wait for the tag of `DEFAULT_ROUTE`. May be called again.

        Args:
            tag: That; None where it will not be known, and the provisional one has to do.
        """
        if tag is not None:
            for stream in [*self._ended, *self._streams.values()]:
                if stream.key == DEFAULT_ROUTE:
                    stream.tag, stream.is_provisional = tag, False
                    self._storage.tag_known(stream)
            self._default_tag, self._is_provisional = tag, False
        self._awaits_tag = False
        self._sealed_unseen = self._look_again = True

    @_section
    def adopt(self, chunk: Chunk) -> None:
        """Ship a chunk of a dead process too."""
        self._adopted[chunk.id] = chunk

    @property
    def adopted(self) -> list[Chunk]:
        """Chunks of dead processes that are not settled."""
        return list(self._adopted.values())

    @_section
    def locked(self, work: Callable[[], T]) -> T:
        """Do something quick for the storage's upkeep in the critical section."""
        return work()

    @_section
    def settled_through(self) -> int:
        """Return the highest serial such that all chunks up to it are acked or dropped."""
        oldest = min((chunk.serial for chunk in self._unsettled.values()), default=None)
        return self.chunks_opened if oldest is None else oldest - 1

    @_section
    def release(self, chunk: Chunk) -> None:
        """Free a chunk that the sidecar acked, and tell those who wait for space."""
        if chunk.adopted:
            chunk.state = ChunkState.SETTLED
            self._adopted.pop(chunk.id, None)
            return
        if chunk.state is ChunkState.SETTLED:
            return
        # The commit.
        chunk.state = ChunkState.SETTLED
        self.counters.acked += chunk.records
        self._settle(chunk)
        self._space_came_free()

    @_section
    def split(self, chunk: Chunk) -> tuple[Chunk, Chunk] | None:
        """Replace a chunk that a server does not take by two halves with ids of their own.

        Returns:
            The halves, taken as the chunk was; None if it holds a single entry.
        """
        if chunk.entries < 2:
            return None
        left, right = (HalfChunk(chunk, new_chunk_id(self._random_bytes)) for _ in "12")
        fill_halves(chunk, left, right)
        if chunk.adopted:
            return self._split_adopted(chunk, left, right)
        # The commit.
        chunk.halves = left, right
        chunk.state = ChunkState.SETTLED
        self._unsettled[left.id] = left
        self._unsettled[right.id] = right
        chunk.stream.unsettled += 2
        self._bytes_counted += left.size + right.size
        self._settle(chunk)
        return left, right

    @_section
    def quarantine(self, chunk: Chunk, *, spilled: bool) -> None:
        """Give up a single record that a server does not take: its number is a gap from now on.

        Args:
            chunk: With one entry.
            spilled: Whether that is on stderr. It is written before this is called, because from
                here on any producer may declare the gap, with its reason.
        """
        if chunk.adopted:
            raise ValueError(f"{chunk!r} is none of ours: its spool must be told")
        self._give_up(chunk, SPILLED_REASON if spilled else QUARANTINED_REASON)

    # -- closing and the account ---------------------------------------------------------------

    def close_intake(self) -> None:
        """Take no more records; end every stream and seal every chunk. May be called again.

        Called by a signal handler in the middle of another call, it is done when that is.
        """
        if self._is_reentered():
            self._deferred.append(_CLOSING)
        else:
            self._close_intake()

    @_section
    def _close_intake(self) -> None:
        self._closed = True
        if self._deferred:
            self._admit_deferred()  # what was promised a place before this
        self._end_all()

    @property
    def unspooled(self) -> int:
        """Records taken in memory because the spool could not be written."""
        return self._storage.unspooled

    @property
    def bytes_to_spill(self) -> int:
        """Bytes of entries that would die with the process: neither spooled nor on stderr."""
        waiting = (chunk for chunk in self.unsettled() if not chunk.spooled and chunk.entries)
        return sum(each.size - each.size * each.spilled_entries // each.entries for each in waiting)

    @property
    def intake_closed(self) -> bool:
        """Whether `close_intake` was called."""
        return self._closed

    @property
    def records_waiting(self) -> int:
        """Records of the application that are neither acked nor dropped."""
        return sum(chunk.records for chunk in self.unsettled())

    @_section
    def unsettled(self) -> list[Chunk]:
        """Return every chunk that is neither acked nor dropped, oldest first."""
        return self._in_order()

    @_section
    def to_spill(self) -> list[Chunk]:
        """Return the chunks that may be written to stderr: unsettled, not spooled, oldest first.

        None that is open, as long as intake is.
        """
        closes = self._closed or _CLOSING in self._deferred
        chunks = [each for each in self._in_order() if not each.spooled]
        return [each for each in chunks if closes or each.state is not ChunkState.OPEN]

    @_section
    def note_spilled(self, chunk: Chunk, entries: int, records: int) -> None:
        """Note that the chunk's first `entries`, `records` of them not control, went to stderr."""
        chunk.spilled_entries = entries
        chunk.spilled_records = records

    @_section
    def note_written(self, chunk: Chunk) -> None:
        """Note that all of the chunk is on stderr: who waits for space may have its place."""
        self._written.append(chunk)
        self._space_came_free()

    @_producer_section
    def account(self) -> Account:
        """Return the numbers that metrics are made of; in whatever thread wants to know.

        Raises:
            BufferBusy: The lock was not to be had in time.
        """
        counters, waiting = self.counters, self._unsettled.values()
        undecided = Counter(reason for _, reason in tuple(counters.undecided))
        return Account(
            accepted=counters.accepted,
            acked=counters.acked,
            spilled=counters.spilled,
            refused=counters.refused,
            truncated=counters.truncated,
            blocked_seconds=counters.blocked_seconds,
            dropped={each: n - undecided[each] for each, n in counters.dropped.items()},
            waiting=sum(chunk.records for chunk in waiting),
            spooled=sum(chunk.records for chunk in waiting if chunk.spooled),
            unspooled=self.unspooled,
            bytes_held=self._bytes_counted,
        )

    @_section
    def report(self, reason: str, seconds: float) -> DrainReport:
        """Return what became of every record so far."""
        waiting = self._in_order()
        counters = self.counters
        spilled = sum(chunk.spilled_records for chunk in waiting)
        spooled = sum(chunk.records - chunk.spilled_records for chunk in waiting if chunk.spooled)
        return DrainReport(
            reason=reason,
            seconds=seconds,
            accepted=counters.accepted,
            acked=counters.acked,
            spooled=spooled,
            spilled=counters.spilled + spilled,
            dropped=sum(counters.dropped.values()),
            unacked=sum(chunk.records for chunk in waiting) - spilled - spooled,
            refused=counters.refused,
            truncated=counters.truncated,
            streams=tuple(
                _stream_report(stream, waiting)
                for stream in (*self._ended, *self._streams.values())
            ),
        )

    # -- inside the critical section -------------------------------------------------------------

    def _admit(self, tag: str, body: bytes, promised: bool) -> Outcome:
        size = len(body) + self._suffix_bytes
        if self._bytes_counted + size > self.bytes_max and not promised:
            return Outcome.FULL
        stream = self._streams.get(tag)
        if stream is None or stream.undeclared or stream.next_number >= ROLLOVER_NUMBER:
            if not promised and not self._storage.has_room(size):
                return Outcome.FULL
            stream = self._ready_stream(tag)
        number = stream.next_number
        chunk = stream.chunk
        if chunk is None or chunk.size + size > chunk.capacity:
            if not promised and not self._storage.has_room(size):
                return Outcome.FULL
            chunk = self._chunk_for(stream, size)
        chunk.append(body, stream.suffix % number if stream.suffix else b"")
        # The commit.
        chunk.size += size
        chunk.entries += 1
        chunk.records += 1
        chunk.last = number
        stream.next_number = number + 1
        stream.accepted += 1
        self.counters.accepted += 1
        self._bytes_counted += size
        if chunk.size >= self._chunk_bytes_max:
            stream.fills_chunks = True
            self._seal(chunk)
        return Outcome.ACCEPTED

    def _close_lanes(self) -> None:
        """Let no more records in beside this section, and count those that came so."""
        if self._lanes:
            self._left_lanes, self._lanes = self._lanes, NO_LANES
        for chunk in self._left_lanes.values():
            last = chunk.stream.next_number - 1
            count, size = last - chunk.last, chunk.size
            # The commit.
            self._bytes_counted += size - chunk.lane_size
            chunk.lane_size = size
            chunk.last = last
            chunk.entries += count
            chunk.records += count
            chunk.stream.accepted += count
        self._left_lanes = NO_LANES

    def _lanes_to_open(self, tag: str) -> dict[str, Chunk]:
        """Return the chunks into which records may go from now on without this section."""
        if not _ASSIGNMENTS_ARE_ONE or is_traced():
            return NO_LANES
        few = len(self._open) <= LANES_MAX
        lanes = {
            stream.key: chunk
            for stream, chunk in self._open.items()
            if (few or stream.key == tag)
            and chunk.has_lane
            and chunk.entries
            and not stream.undeclared
        }
        share = (self.bytes_max - self._bytes_counted) // max(len(lanes), 1)
        for chunk in lanes.values():
            # Not so far that it would have to be sealed, its stream to roll over, the buffer to
            # hold more than it may, or that an entry could be too large.
            numbers_left = ROLLOVER_NUMBER - chunk.stream.next_number
            left = min(numbers_left, share, self._body_bytes_max)
            size_max = min(chunk.capacity, self._chunk_bytes_max - 1, chunk.size + left)
            size_likely = chunk.stream.last_chunk_bytes if few else 0  # not for each of a thousand
            chunk.lane_bytes_max = chunk.reserve(size_max, size_likely)
            chunk.lane_size = chunk.size
            chunk.lane_number, chunk.lane_suffix, chunk.lane_digits = chunk.stream.thousand()
        return lanes

    def _admit_deferred(self) -> None:
        """Do what re-entered calls left; they were promised a place, so there is no bound."""
        while self._deferred:
            deferred = self._deferred[0]
            if deferred == _CLOSING:
                self._closed = True
                self._end_all()
            elif self._all_ended:
                self._refuse(deferred[0])  # it came in the moment in which intake was closed
            else:
                self._deferred_begun_at = self.counters.accepted  # see `_repair`
                self._admit(*deferred, True)
            self._deferred_begun_at = None
            self._deferred.popleft()
            self._look_again = True

    def _refuse(self, tag: str) -> Outcome:
        stream = self._streams.get(tag)
        self.counters.refused += 1
        if stream is not None:
            stream.refused += 1
        return Outcome.CLOSED

    def _stream(self, tag: str) -> Stream:
        """Return the tag's stream, opening one where there is none or its numbers are used up."""
        stream = self._streams.get(tag)
        if stream is not None and stream.next_number >= ROLLOVER_NUMBER:
            self._end(stream)
            stream = None
        if stream is None:
            if len(self._streams) >= STREAMS_MAX:
                self._end(next(iter(self._streams.values())))
            stream = self._new_stream(tag)
            self._streams[tag] = stream
        return stream

    def _new_stream(self, key: str) -> Stream:
        if key != DEFAULT_ROUTE:
            return Stream(key, self._stamp_key, self._random_bytes)
        return Stream(
            self._default_tag,
            self._stamp_key,
            self._random_bytes,
            key=key,
            is_provisional=self._is_provisional,
        )

    def _ready_stream(self, tag: str) -> Stream:
        """Return the tag's stream, with everything declared that it lost since its last entry."""
        stream = self._stream(tag)
        self._declare_gaps(stream)
        return stream

    def _declare_gaps(self, stream: Stream) -> None:
        """Write a gap record for each range of numbers that will not arrive."""
        if self._stamp_key is None:
            stream.undeclared = []
        while stream.undeclared:
            gap = stream.undeclared[0]
            text = "logship: records will not arrive"
            self._add_control(stream, {"message": text, "logship_gap": list(gap)}, gap)

    def _end(self, stream: Stream) -> None:
        """Write the stream's end record and seal its chunk; may be called again to complete it."""
        self._declare_gaps(stream)
        if stream.end is None and self._stamp_key is not None:
            fields = {
                "message": "logship: stream closed",
                "logship_end": True,
                "logship_accepted": stream.accepted,
                "logship_refused": stream.refused,
            }
            self._add_control(stream, fields, None)
        if stream.chunk is not None:
            self._seal(stream.chunk)
        if not self._closed:  # else it stays where `_refuse` finds it
            self._retire(stream)

    def _end_all(self) -> None:
        for stream in list(self._streams.values()):
            self._end(stream)
        self._all_ended = True
        self._look_again = True
        self._space_came_free()  # those who wait for it are told that there will be none

    def _retire(self, stream: Stream) -> None:
        """Keep of ended streams those of which there is something left to report."""
        kept = [each for each in self._ended if each.unsettled or each.lost]
        # The commit.
        self._ended = [*kept, stream]
        del self._streams[stream.key]

    def _add_control(self, stream: Stream, fields: dict[str, object], gap: Gap | None) -> None:
        """Append one of our own records, which may exceed the bound by its few bytes.

        Args:
            stream: Whose record.
            fields: Without the stamp.
            gap: The first of the undeclared gaps, which it declares; None for the end record.
        """
        number = stream.next_number
        body = pack_control(fields, self._time_ns())
        size = len(body) + self._suffix_bytes
        chunk = stream.chunk
        if chunk is None or chunk.size + size > chunk.capacity:
            chunk = self._chunk_for(stream, size)
        chunk.append(body, stream.suffix_of(number))
        # The commit.
        if gap is None:
            stream.end = number
        else:
            chunk.gaps = [*chunk.gaps, gap]
            stream.undeclared = stream.undeclared[1:]
        chunk.size += size
        chunk.entries += 1
        chunk.last = number
        stream.next_number = number + 1
        self._bytes_counted += size

    def _chunk_for(self, stream: Stream, size: int) -> Chunk:
        """Return the stream's chunk that has room for `size` bytes, opening one if need be."""
        if stream.chunk is not None:
            stream.fills_chunks = True
            self._seal(stream.chunk)
        serial = self.chunks_opened + 1
        chunk = self._storage.open_chunk(stream, serial, self._monotonic(), size)
        # The commit.
        self.chunks_opened = serial
        self._unsettled[chunk.id] = chunk
        self._open[stream] = chunk
        stream.chunk = chunk
        stream.unsettled += 1
        return chunk

    def _seal(self, chunk: Chunk) -> None:
        """Move an open chunk to the sealed ones."""
        chunk.sealed()
        # The commit; what comes last is a call, after which a signal may raise.
        chunk.stream.last_chunk_bytes = chunk.size
        del self._open[chunk.stream]
        chunk.stream.chunk = None
        if not chunk.entries:  # left over by a repair
            chunk.state = ChunkState.SETTLED
            self._settle(chunk)
            return
        chunk.state = ChunkState.SEALED
        self._sealed_unseen = True
        self._sealed.append(chunk)

    def _give_up(self, chunk: Chunk, reason: str) -> None:
        """Forget a chunk that will not be delivered: its numbers are gaps from now on."""
        stream, counters = chunk.stream, self.counters
        gaps = [Gap(first, last, reason) for first, last in chunk.ranges()]
        lost = merge_gaps(stream.lost, gaps)
        # The records in it that declared other gaps are lost with it.
        undeclared = merge_gaps(stream.undeclared, [*gaps, *chunk.gaps])
        dropped = counters.dropped[reason] + chunk.records if reason != SPILLED_REASON else 0
        spilled = counters.spilled + (chunk.records if reason == SPILLED_REASON else 0)
        # The commit.
        chunk.state = ChunkState.SETTLED
        stream.lost, stream.undeclared = lost, undeclared
        counters.spilled = spilled
        if reason != SPILLED_REASON:
            counters.dropped[reason] = dropped
        self._settle(chunk)
        self._space_came_free()

    def _settle(self, chunk: Chunk) -> None:
        """Forget a chunk whose state is SETTLED; may be called again to complete it."""
        if chunk.stream.chunk is chunk:
            del self._open[chunk.stream]
            chunk.stream.chunk = None
        self._free(chunk)
        if chunk.id in self._unsettled:
            del self._unsettled[chunk.id]
            self._bytes_counted -= chunk.size
            chunk.stream.unsettled -= 1

    def _free(self, chunk: Chunk) -> None:
        """Free a settled chunk's bytes; a spooled whole's when all that it was split into is."""
        if chunk.spooled and not chunk.is_done:
            return
        self._storage.release(chunk)
        if isinstance(chunk, HalfChunk) and chunk.whole.spooled:
            self._free(chunk.whole)

    def _take_adopted(self) -> Chunk | None:
        chunk = self._next_adopted()
        if chunk is not None:
            chunk.state = ChunkState.TAKEN
        return chunk

    def _next_adopted(self) -> Chunk | None:
        """Return the adopted chunk to take next; none while we are closing.

        Where there are none of ours to find room for, there may be as many as the window takes:
        what no server takes is taken and not on its way, and the next one is its only neighbour.
        """
        chunks = list(self._adopted.values())
        taken = sum(each.state is ChunkState.TAKEN for each in chunks)
        if self._closed or (self._unsettled and taken >= ADOPTED_INFLIGHT_MAX):
            return None
        for each in chunks:
            if each.state is ChunkState.SEALED:
                return each
        return None

    def _split_adopted(self, chunk: Chunk, left: Chunk, right: Chunk) -> tuple[Chunk, Chunk]:
        """Put the halves in the place of an adopted chunk."""
        left.records = right.records = 0  # none of our account
        # The commit.
        chunk.halves = left, right
        chunk.state = ChunkState.SETTLED
        self._adopted[left.id] = left
        self._adopted[right.id] = right
        self._adopted.pop(chunk.id, None)
        return left, right

    def _oldest_droppable(self) -> Chunk | None:
        """Return the oldest chunk that is not on its way.

        None of an ended stream: the gap could not be declared in it any more. And none of gap
        records alone: they would be written again before the next entry, so that whoever drops
        until that finds room would never come to an end.
        """
        for chunk in chain(self._sealed, self._open.values()):
            if chunk.records and chunk.stream.end is None:
                return chunk
        return None

    def _wake_is_due(self) -> bool:
        """Tell, once, whether a sleeping shipper has a chunk to send or a timer to arm."""
        if self._sealed_unseen or (not self._timer_armed and self._has_open_to_time()):
            self._shipper_asleep = False
            return True
        return False

    def _has_open_to_time(self) -> bool:
        """Tell whether an open chunk lingers that may go when it is due."""
        return self._first_to_go(self._open.values()) is not None

    def _is_held(self, chunk: Chunk) -> bool:
        """Tell whether a chunk waits until its tag is known."""
        return self._awaits_tag and chunk.stream.key == DEFAULT_ROUTE

    def _next_sealed(self) -> Chunk | None:
        """Return the oldest sealed chunk that may go."""
        if not self._awaits_tag:
            return self._sealed[0] if self._sealed else None
        return self._first_to_go(self._sealed)

    def _first_to_go(self, chunks: Iterable[Chunk]) -> Chunk | None:
        """Return the first that does not wait until its tag is known."""
        if not self._awaits_tag:
            return next(iter(chunks), None)
        # A loop: closing a generator is a place where a signal may raise, and nobody sees it.
        for chunk in chunks:
            if not self._is_held(chunk):
                return chunk
        return None

    def _in_order(self) -> list[Chunk]:
        """Return all unsettled chunks, in the order of opening; halves have their whole's place."""
        return sorted(self._unsettled.values(), key=lambda chunk: (chunk.serial, chunk.first))

    def _repair(self) -> None:
        """Complete or undo what an exception interrupted, from what every commit leaves true.

        Those are: which chunks are unsettled, each one's state, size and entries, each stream's
        numbers, and the counters. Everything else is made anew. May itself be interrupted.
        """
        for chunk in self._in_order():
            if chunk.state is ChunkState.SETTLED:
                self._settle(chunk)
        chunks = self._in_order()
        self._open = {each.stream: each for each in chunks if each.state is ChunkState.OPEN}
        self._sealed = deque(each for each in chunks if each.state is ChunkState.SEALED)
        self._sealed_unseen = self._look_again = True
        self._bytes_counted = sum(each.size for each in chunks)
        unsettled = Counter(each.stream for each in chunks)
        for stream in [*self._ended, *self._streams.values()]:
            stream.chunk = self._open.get(stream)
            stream.unsettled = unsettled[stream]
        self._storage.repair(chunks)
        for chunk in self._open.values():
            chunk.cut_uncommitted()
        self._repair_deferred()
        self._repair_ends()

    def _repair_deferred(self) -> None:
        """Forget the first deferred entry if its admission was committed: it has its number."""
        begun_at, self._deferred_begun_at = self._deferred_begun_at, None
        if begun_at is not None and begun_at != self.counters.accepted:
            self._deferred.popleft()

    def _repair_ends(self) -> None:
        """Complete the end of streams whose end record is written; nothing may follow that."""
        for stream in list(self._streams.values()):
            if stream.end is not None:
                self._end(stream)

    # -- those who wait ----------------------------------------------------------------------------

    def _space_came_free(self) -> None:
        """Have those who wait for space told, outside the lock."""
        due, waiting = self._due_callbacks, self._space_callbacks
        self._due_callbacks, self._space_callbacks = [*due, *waiting], []

    def _tell(self, wakes: bool) -> None:
        """Tell those who wait for space, and the shipper."""
        due, self._due_callbacks = self._due_callbacks, []
        try:
            for callback in due:
                callback()
        except BaseException:
            self._due_callbacks = [*due, *self._due_callbacks]
            raise
        if wakes:
            self.wake()

    def _wake_to_be_sure(self) -> None:
        """Wake the shipper: an exception passes, and may have come between a chunk and its call."""
        self._shipper_asleep = self._look_again = True
        self.wake()

    @_section
    def tell_waiters(self) -> None:
        """Call all who wait for space: things have changed, though no space came free."""
        self._space_came_free()

    @_producer_section
    def _forget_space_callback(self, callback: Callable[[], None]) -> None:
        self._space_callbacks = [each for each in self._space_callbacks if each is not callback]


def _stream_report(stream: Stream, waiting: list[Chunk]) -> StreamReport:
    spilled = stream.lost_ranges(SPILLED_REASON)
    unacked: Ranges = []
    spooled: Ranges = []
    for chunk in waiting:
        if chunk.stream is stream:
            chunk_spilled, chunk_unacked = chunk.split_ranges()
            spilled.extend(chunk_spilled)
            (spooled if chunk.spooled else unacked).extend(chunk_unacked)
    return StreamReport(
        stream=stream.id,
        tag=stream.tag,
        last=stream.next_number - 1,
        end=stream.end,
        accepted=stream.accepted,
        refused=stream.refused,
        spilled=merge_ranges(spilled),
        dropped=[(*gap,) for gap in stream.lost if gap.reason != SPILLED_REASON],
        unacked=merge_ranges(unacked),
        spooled=merge_ranges(spooled),
    )

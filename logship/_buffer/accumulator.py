"""How entries are numbered, and what is told of those that are lost.

Everything here is called inside the buffer's critical section. Each method ends in one change (see
`changes`), or in several of which each leaves the accumulator whole: an exception from outside may
come between them, and the caller begins again. Nothing here waits, logs or does I/O; only a spool
may make a file, if no segment is ready.
"""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from logship._buffer.changes import Changes
from logship._buffer.chunk import Chunk, Storage
from logship._buffer.chunks import Chunks
from logship._buffer.counters import Counters
from logship._buffer.inbox import Item, Run, Tag
from logship._buffer.losses import Numbered, left_to_declare, lost
from logship._buffer.ranges import Gap, extended, gap_record, merge_gaps
from logship._buffer.stream import (
    NUMBER_MAX,
    ROLLOVER_NUMBER,
    Stream,
    Streams,
    new_stream_id,
    stamp_bytes,
)
from logship._protocol.entries import END_KEY, HIGH_WATER_KEY, pack_control
from logship._reasons import DROPPED, ELSEWHERE, ON_PURPOSE, OVERFLOW, SPILLED

HIGH_WATER_TAG = "logship.highwater"
"""The tag of high-water records. It is their own, so that they can take another way."""

_LONGEST_REASON = max(*DROPPED, *ELSEWHERE, *ON_PURPOSE, key=len)

WITHHELD_INTERVAL_SECONDS = 60.0
"""So often at most a stream declares what was withheld: one gap for all of it."""


class Accumulator:
    """What the buffer holds.

    The arguments are those of `Buffer`.

    Attributes:
        changes: The commits.
        chunks: Where entries are kept, once they are numbered.
        counters: What became of records.
        refused_id: Of this process life, in the lines of refused records.
        streams: Open streams and ended ones.
        stamp_bytes: What a stamp adds to an entry.
    """

    def __init__(
        self,
        *,
        chunk_bytes_max: int,
        stamp_key: str | None,
        awaited_tag: str | None,
        storage: Storage,
        monotonic: Callable[[], float],
        time_ns: Callable[[], int],
        random_bytes: Callable[[int], bytes],
    ) -> None:
        self.changes: Changes = Changes()
        self.chunks: Chunks = Chunks(storage, self.changes, random_bytes)
        self.counters: Counters = Counters()
        self.refused_id: str = new_stream_id(random_bytes)
        self._refused_lines = itertools.count(1)
        self.streams: Streams = Streams(stamp_key, awaited_tag, self.changes, random_bytes)
        self.stamp_bytes: int = stamp_bytes(stamp_key)
        self.have_in_controls({})
        self._chunk_bytes_max = chunk_bytes_max
        self._stamp_key = stamp_key
        self._monotonic = monotonic
        self._time_ns = time_ns

    def have_in_controls(self, fields: Mapping[str, Any]) -> None:
        """Have plain fields in each control record; its own win."""
        self._control_fields = fields
        longest = gap_record(Gap(NUMBER_MAX, NUMBER_MAX, _LONGEST_REASON))
        self._gap_bytes_max = len(pack_control({**fields, **longest}, 0)) + self.stamp_bytes

    # -- records come in -----------------------------------------------------------------------

    def has_room(self, tag: Tag, size: int) -> bool:
        """Tell whether the storage has a place for the next entry of this tag, stamp included."""
        if self._chunk_with_room(tag, size) is not None:
            return True
        stream = self.streams.open.get(tag)
        gaps = 0 if stream is None else len(stream.undeclared)
        return self.chunks.storage.has_room(gaps * self._gap_bytes_max + size)

    def append(self, run: Run, remove: Callable[[Item, int], None]) -> int:
        """Number the first entries of a run and keep them: as many as one chunk takes.

        Args:
            run: Entries whose map headers count the stamp; not empty.
            remove: A part of the change. It is told the first of them, and how many.

        Returns:
            How many, at least one.
        """
        first, bodies = run
        tag, body = first
        size = len(body) + self.stamp_bytes
        chunk = self._chunk_with_room(tag, size) or self._make_room(tag, size)
        if len(bodies) > 1:
            bodies = bodies[: self._fitting(bodies, chunk)]
        count = len(bodies)
        self._write(chunk, bodies, count, remove, (first, count))
        if chunk.size >= self._chunk_bytes_max:
            self.chunks.seal(chunk)
        return count

    def number_and_drop(self, tag: Tag, body: bytes) -> Numbered | None:
        """Number an entry that will not be kept, and note its number as a gap.

        Returns:
            The numbered entry, or None where one tag more is too many.
        """
        if not self.streams.has_place(tag):
            return None
        stream = self.stream(tag)
        number, entry = stream.next_number, stream.stamped([body])
        count = lost(self.counters, stream, [Gap(number, number, OVERFLOW)], OVERFLOW, 1)
        accepted = self.counters.accepted + 1

        def note() -> None:
            self.counters.accepted = accepted
            count()

        self._number_gap(stream, 1, OVERFLOW, note)
        return Numbered(stream, number, entry)

    def number_refused(self) -> str:
        """Return what the next line of a refused record is known by, in the form of a stamp.

        The numbers begin at 1 and have no hole, so a reader of stderr sees how many of these lines
        there were, and which of them are missing. Any thread may call it, at any point.
        """
        return f"{self.refused_id}:{next(self._refused_lines):010d}"

    # -- chunks leave ----------------------------------------------------------------------------

    def release(self, chunk: Chunk) -> None:
        """Free a chunk that the sidecar acked, and count its records as acked."""
        if chunk.is_settled:
            return
        acked = self.counters.acked + chunk.own_records

        def count() -> None:
            self.counters.acked = acked

        self.chunks.settle(chunk, count)

    def give_up(self, chunk: Chunk, reason: str) -> None:
        """Free a chunk that will not be delivered: its numbers are gaps from now on.

        Every chunk that is given up comes here, and the caller says only why.

        Args:
            chunk: Delivery does not have it, or has forgotten it.
            reason: A word of `logship._reasons`. A chunk that is wholly on stderr is spilled in any
                case.
        """
        if chunk.spilled_entries == chunk.entries:
            reason = SPILLED
        stream = chunk.stream
        gaps = [Gap(first, last, reason) for first, last in chunk.ranges()]
        count = lost(self.counters, stream, gaps, reason, chunk.own_records)
        undeclared = left_to_declare(chunk, gaps)

        def note() -> None:
            stream.undeclared = undeclared
            chunk.whole.is_given_up = True
            count()

        self.chunks.settle(chunk, note)

    def declare_gaps(self, stream: Stream, behind_bytes: int = 0) -> None:
        """Write a gap record for each range of numbers that will not arrive, if one may follow.

        Args:
            stream: Which.
            behind_bytes: Size of the entry that comes behind them, into the same chunk: one of gap
                records alone has a place of its own, and is not dropped while others can be.
        """
        if not stream.can_declare:
            return
        if self._stamp_key is None:
            stream.undeclared = []
        while stream.undeclared:
            gap, *left = stream.undeclared

            def note(left: list[Gap] = left) -> None:
                stream.undeclared = left

            more = len(left) * self._gap_bytes_max + behind_bytes
            self._append_control(stream, gap_record(gap), note, gap, more)

    def declare_if_kept(self, stream: Stream) -> None:
        """Declare a stream's gaps, unless the records of that would lie in memory alone."""
        if self.chunks.storage.keeps(len(stream.undeclared) * self._gap_bytes_max):
            self.declare_gaps(stream)

    # -- high-water records -----------------------------------------------------------------------

    @property
    def is_stating(self) -> bool:
        """Whether a high-water record is on its way."""
        stream = self.streams.open.get(HIGH_WATER_TAG)
        return stream is not None and stream.unsettled > 0

    def state_highest(self) -> None:
        """Write a record with the highest number of each stream that grew since the last one."""
        grown = {
            each: each.next_number - 1
            for each in self.streams.open.values()
            if each.next_number - 1 > each.stated and each.key != HIGH_WATER_TAG
        }
        if not grown:
            return

        def note() -> None:
            for each, number in grown.items():
                each.stated = number

        stream = self.stream(HIGH_WATER_TAG)
        self.declare_gaps(stream)
        stamps = [f"{each.id}:{number:010d}" for each, number in grown.items()]
        text = "logship: highest numbers"
        fields: dict[str, object] = {"message": text, HIGH_WATER_KEY: stamps}
        self._append_control(stream, fields, note)

    # -- ends -------------------------------------------------------------------------------------

    def end(self, stream: Stream, *, retires: bool = True) -> None:
        """Write the stream's end record and seal its chunk; may be called again to complete it.

        Args:
            stream: Which.
            retires: Whether its key may begin another stream.
        """
        if stream.can_declare:
            self._number_withheld(stream)
        self.declare_gaps(stream)
        if stream.end is None and self._stamp_key is not None:
            fields = {
                "message": "logship: stream closed",
                END_KEY: True,
                "logship_accepted": stream.accepted,
                "logship_refused": stream.refused,
            }
            number = stream.next_number

            def note() -> None:
                stream.end = number

            self._append_control(stream, fields, note)
        chunk = self.chunks.open.get(stream.key)
        if chunk is not None:
            self.chunks.seal(chunk)
        if retires:
            self.streams.retire(stream)

    # -- inside -----------------------------------------------------------------------------------

    def stream(self, tag: Tag) -> Stream:
        """Return the tag's stream, opening one where there is none or its numbers are used up."""
        stream = self.streams.open.get(tag)
        if stream is not None and (stream.next_number >= ROLLOVER_NUMBER or stream.end is not None):
            self.end(stream)
            stream = None
        if stream is None:
            if self.streams.is_full:
                self.end(next(iter(self.streams.open.values())))
            stream = self.streams.begin(tag)
        return stream

    def _chunk_with_room(self, tag: Tag, size: int) -> Chunk | None:
        """Return the open chunk where the tag's next entry goes, if nothing must come before it."""
        chunk = self.chunks.open.get(tag)
        if chunk is None or chunk.size + size > chunk.capacity:
            return None
        stream = chunk.stream
        if stream.undeclared or stream.end is not None:
            return None
        return chunk if stream.next_number < ROLLOVER_NUMBER else None

    def _make_room(self, tag: Tag, size: int) -> Chunk:
        """Open what an entry of `size` bytes needs, and declare the stream's gaps before it."""
        self.chunks.storage.look()
        stream = self.stream(tag)
        if stream.withheld and self._monotonic() >= stream.withheld_due_seconds:
            self._number_withheld(stream)
        self.declare_gaps(stream, size)
        return self._chunk_for(stream, size)

    def _number_withheld(self, stream: Stream) -> None:
        """Number what was withheld: for each reason one range, which is a gap."""
        due_seconds = self._monotonic() + WITHHELD_INTERVAL_SECONDS
        for reason, count in list(stream.withheld.items()):
            left = {each: n for each, n in stream.withheld.items() if each != reason}

            def note(left: dict[str, int] = left) -> None:
                stream.withheld, stream.withheld_due_seconds = left, due_seconds

            self._number_gap(stream, count, reason, note)

    def _number_gap(
        self, stream: Stream, count: int, reason: str, then: Callable[[], None]
    ) -> None:
        """Give out numbers that will be in no chunk, and note them as a gap that is to be declared.

        Args:
            stream: Whose.
            count: How many.
            reason: Why.
            then: A part of the change.
        """
        chunk = self.chunks.open.get(stream.key)
        if chunk is not None and not chunk.entries:  # it would have to begin with this number
            self.chunks.seal(chunk)
            chunk = None
        first, last = stream.next_number, stream.next_number + count - 1
        undeclared = merge_gaps(stream.undeclared, [Gap(first, last, reason)])
        holes = extended(chunk.holes, first, last) if chunk is not None else []

        def change() -> None:
            self.chunks.storage.note_given(stream, last + 1)
            stream.next_number = last + 1
            stream.undeclared = undeclared
            if chunk is not None:
                chunk.holes = holes
            then()

        self.changes.commit(change)

    def _append_control(
        self,
        stream: Stream,
        fields: dict[str, object],
        then: Callable[[], None],
        gap: Gap | None = None,
        behind_bytes: int = 0,
    ) -> None:
        """Append one of our own records, which may exceed the bound by its few bytes.

        Args:
            stream: Whose record.
            fields: Without the stamp.
            then: A part of the change.
            gap: What the record declares, if that is a gap.
            behind_bytes: So much has a place behind it in its chunk.
        """
        body = pack_control({**self._control_fields, **fields}, self._time_ns())
        chunk = self._chunk_for(stream, len(body) + self.stamp_bytes + behind_bytes)
        gaps = chunk.gaps if gap is None else [*chunk.gaps, gap]

        def note() -> None:
            chunk.gaps = gaps
            if gaps:
                stream.declaring[chunk.id] = gaps
            then()

        self._write(chunk, [body], 0, note)

    def _chunk_for(self, stream: Stream, size: int) -> Chunk:
        """Return the stream's chunk that has room for `size` bytes, opening one if need be."""
        chunk = self.chunks.open.get(stream.key)
        if chunk is not None:
            if chunk.size + size <= chunk.capacity:
                return chunk
            self.chunks.seal(chunk)
        return self.chunks.begin(stream, self._monotonic(), size)

    def _fitting(self, bodies: Sequence[bytes], chunk: Chunk) -> int:
        """Return how many of these entries fit into chunk and stream, at least one."""
        room = chunk.capacity - chunk.size
        each, count = self.stamp_bytes, len(bodies)
        count = min(count, max(1, ROLLOVER_NUMBER - chunk.stream.next_number))
        if sum(map(len, bodies)) + each * len(bodies) <= room:
            return count
        sizes = itertools.accumulate(len(body) + each for body in bodies)
        return max(1, min(count, bisect_right([*sizes], room)))

    def _write(
        self,
        chunk: Chunk,
        bodies: Sequence[bytes],
        records: int,
        then: Callable[..., None],
        arguments: tuple[object, ...] = (),
    ) -> None:
        """Number entries, write them behind those of a chunk, and commit them.

        Args:
            chunk: An open one with room for them.
            bodies: The entries, without stamps.
            records: How many of them the application logged.
            then: A part of the change.
            arguments: What `then` is given.
        """
        stream, entries = chunk.stream, len(bodies)
        controls = entries - records
        data = stream.stamped(bodies)
        chunk.write(data)
        size = len(data)
        totals = (
            chunk.size + size,
            chunk.entries + entries,
            chunk.controls + controls,
            stream.controls + controls,
            stream.next_number + entries,
            self.counters.accepted + records,
            self.chunks.bytes_held + size,
        )
        self.changes.commit(self._count_written, chunk, totals, then, arguments)

    def _count_written(
        self,
        chunk: Chunk,
        totals: tuple[int, int, int, int, int, int, int],
        then: Callable[..., None],
        arguments: tuple[object, ...],
    ) -> None:
        """Have what was written behind a chunk's entries count: a change."""
        stream, counters = chunk.stream, self.counters
        (
            size,
            entries,
            chunk.controls,
            stream.controls,
            stream.next_number,
            counters.accepted,
            self.chunks.bytes_held,
        ) = totals
        chunk.advance(size, entries)
        then(*arguments)

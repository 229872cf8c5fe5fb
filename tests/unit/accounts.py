"""Judges a buffer from outside: what lies in its chunks, what it reports, and whether they agree.

The entries are decoded by another implementation of msgpack than the product's; no number here
comes from the code that is judged except those of the report.
"""

from __future__ import annotations

import functools
import itertools
from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from logship._buffer.buffer import Buffer
from logship._buffer.changes import Change, Changes
from logship._buffer.chunk import Chunk, ChunkState, HalfChunk
from logship._buffer.entrance import Outcome
from logship._buffer.overflow import Admission
from logship.testing import ManualClock
from tests.support.packing import pack_record
from tests.support.raising import reraise
from tests.support.strict_msgpack import decode_all

QUICK = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

FAR_AWAY = 1 << 24
"""A bound so far away that entries wait in the inbox."""


class Wakes:
    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> None:
        self.count += 1


def a_buffer(**options: Any) -> Buffer:
    """Return a small buffer with a manual clock, whose ids are counted up."""
    ids = itertools.count()
    defaults = {
        "bytes_max": 100_000,
        "chunk_bytes_max": 1000,
        "linger_seconds": 0.2,
        "stamp_key": "logship_id",
        "wake": Wakes(),
        "monotonic": ManualClock(),
        "time_ns": lambda: 1_700_000_000_000_000_000,
        "failed": reraise,
        "random_bytes": lambda size: next(ids).to_bytes(size, "big"),
    }
    return Buffer(**{**defaults, **options})


def make_changes_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have each change made once more, as after an exception from outside."""
    commit = Changes.commit

    def commit_twice(self: Changes, change: Change, *values: Any) -> None:
        commit(self, change, *values)
        commit(self, change, *values)

    monkeypatch.setattr(Changes, "commit", commit_twice)


def body(number: int, characters: int = 20, *, stamped: bool = True) -> bytes:
    """Return the beginning of an entry that can be told from all others."""
    fields = {"message": "x" * characters, "n": number}
    return pack_record(fields, 1_700_000_000_000_000_000 + number, int(stamped))


def entries_of(payload: bytes | bytearray | memoryview) -> list[dict[str, Any]]:
    """Return the records in a chunk's payload, decoded independently."""
    return _decoded(bytes(payload))[:]


@functools.lru_cache(1000)
def _decoded(payload: bytes) -> list[dict[str, Any]]:
    """Decode a payload once: most tests look at the same ones again and again."""
    return [record for _, record in decode_all(payload)]


def is_control(record: dict[str, Any]) -> bool:
    """Tell whether a record is one of logship's own."""
    return bool({"logship_gap", "logship_end", "logship_high_water"} & record.keys())


def stamp_of(record: dict[str, Any]) -> tuple[str, int]:
    """Return the stream and the number in a record's stamp, which must have its one form."""
    stream, _, digits = record["logship_id"].partition(":")
    assert len(stream) == 12
    assert len(digits) == 10
    return stream, int(digits)


def admit(admission: Admission, tag: str, body: bytes) -> bool:
    """Offer an entry as a client does."""
    outcome = admission.admit_after(admission._buffer.offer(tag, body), tag, body)
    return outcome is Outcome.ACCEPTED


class Sink:
    """Plays the shipper and the sidecar: takes chunks, keeps their records, releases them."""

    def __init__(self, buffer: Buffer) -> None:
        self.buffer = buffer
        self.taken: list[Chunk] = []
        self.acked: list[dict[str, Any]] = []

    def take_all(self) -> None:
        while (chunk := self.buffer.departure.take()) is not None:
            assert chunk.state is ChunkState.TAKEN
            self.taken.append(chunk)

    def ack(self, chunk: Chunk) -> None:
        self.taken.remove(chunk)
        self.acked += entries_of(chunk.data)
        self.buffer.release(chunk)

    def drain(self) -> None:
        """Deliver everything, what an interrupted `take` lost track of too."""
        self.buffer.seal_all()
        self.take_all()
        self.taken = [c for c in self.buffer.unsettled() if c.state is ChunkState.TAKEN]
        for chunk in list(self.taken):
            self.ack(chunk)


def drained(buffer: Buffer) -> Sink:
    sink = Sink(buffer)
    sink.drain()
    return sink


def ended(buffer: Buffer) -> Sink:
    """Close the intake, deliver everything, and check that every gap was declared."""
    buffer.close_intake()
    sink = drained(buffer)
    check(buffer, sink.acked)
    check_declared(buffer, sink.acked)
    return sink


def gaps_in(records: list[dict[str, Any]]) -> list[Any]:
    """Return what the gap records among these declare."""
    return [record["logship_gap"] for record in records if "logship_gap" in record]


def taken(buffer: Buffer) -> Chunk:
    """Seal what is open, and take the first chunk."""
    buffer.seal_all()
    chunk = buffer.departure.take()
    assert chunk is not None
    return chunk


def split(buffer: Buffer, chunk: Chunk) -> tuple[Chunk, Chunk]:
    """Split a chunk that has several entries."""
    halves = buffer.departure.split(chunk)
    assert halves is not None
    return halves


def numbers_in(ranges: Any) -> list[int]:
    """Return all numbers in ranges that may have a reason behind them."""
    return [n for first, last, *_ in ranges for n in range(first, last + 1)]


def check(buffer: Buffer, acked: list[dict[str, Any]]) -> None:
    """Check everything that must hold of a buffer at any moment between two calls.

    Args:
        buffer: The buffer, with stamps.
        acked: All records of the chunks that were released.
    """
    report = buffer.report("check", 0.0)
    assert all(part.tag for part in report.streams)
    waiting = buffer.unsettled()
    _check_chunks(buffer, waiting)
    parts = (report.acked, report.spooled, report.spilled, report.dropped, report.unacked)
    assert min(parts) >= 0
    assert report.accepted == sum(parts)
    kept = [record for chunk in waiting for record in entries_of(chunk.data)]
    _check_numbers(buffer, acked, kept)
    assert report.acked == sum(not is_control(record) for record in acked)


def _check_chunks(buffer: Buffer, waiting: list[Chunk]) -> None:
    assert buffer.bytes_held == sum(len(chunk.data) for chunk in waiting)
    for chunk in waiting:
        records = entries_of(chunk.data)
        controls = [record for record in records if is_control(record)]
        assert chunk.size == len(chunk.data)
        assert chunk.size <= chunk.capacity or isinstance(chunk, HalfChunk)
        assert chunk.entries == len(records)
        assert chunk.records == len(records) - len(controls)
        assert [stamp_of(r)[1] for r in records] == numbers_in(chunk.ranges())
        assert {stamp_of(r)[0] for r in records} <= {chunk.stream.id}
    sealed = [chunk for chunk in waiting if chunk.state is ChunkState.SEALED]
    assert buffer.departure.has_sealed() == bool(sealed)


def _check_numbers(buffer: Buffer, acked: list[dict[str, Any]], kept: list[dict[str, Any]]) -> None:
    """Check that every number given out is in exactly one place, and the report names it there."""
    seen: dict[str, list[int]] = defaultdict(list)
    acked_numbers: dict[str, list[int]] = defaultdict(list)
    for record in [*acked, *kept]:
        stream, number = stamp_of(record)
        seen[stream].append(number)
    for record in acked:
        stream, number = stamp_of(record)
        acked_numbers[stream].append(number)
    for part in buffer.report("check", 0.0).streams:
        lost = numbers_in(part.dropped) + numbers_in(part.spilled)
        not_acked = sorted({*lost, *numbers_in(part.unacked)})
        missing = sorted({*range(1, part.last + 1)} - {*acked_numbers[part.stream]})
        assert missing == not_acked
        present = sorted(seen[part.stream])
        assert len(present) == len(set(present)), "a number was given out twice"
        assert set(present) | set(lost) == set(range(1, part.last + 1)), "a hole in the numbers"


def check_declared(buffer: Buffer, arrived: list[dict[str, Any]]) -> None:
    """Check, of a closed buffer, that every gap is declared by a record that arrived."""
    declared: dict[str, set[int]] = defaultdict(set)
    for record in arrived:
        if "logship_gap" in record:
            declared[stamp_of(record)[0]].update(numbers_in([record["logship_gap"]]))
    for part in buffer.report("check", 0.0).streams:
        lost = numbers_in(part.dropped) + numbers_in(part.spilled)
        assert set(lost) <= declared[part.stream]
        assert part.end == part.last


ENTRY_BYTES = len(body(1)) + len("logship_id") + 1 + 24


def offer_many(buffer: Buffer, count: int, tag: str = "t", first: int = 1) -> None:
    for number in range(first, first + count):
        assert buffer.offer(tag, body(number)) is Outcome.ACCEPTED


def holding(count: int, **options: Any) -> Buffer:
    """Return a buffer with so many entries of one tag."""
    buffer = a_buffer(**options)
    offer_many(buffer, count)
    return buffer


def full_buffer(**options: Any) -> Buffer:
    """Return a buffer of which not one entry more fits in."""
    buffer = holding(10, bytes_max=10 * ENTRY_BYTES, **options)
    assert buffer.offer("t", body(11)) is Outcome.FULL
    return buffer


def wakes_of(buffer: Buffer) -> int:
    wake = buffer._section.wakeups.wake
    assert isinstance(wake, Wakes)
    return wake.count

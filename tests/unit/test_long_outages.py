"""A buffer that is full for as long as it likes is full of records, not of what tells of gaps."""

from __future__ import annotations

from typing import Any

import pytest

from logship._buffer import ranges
from logship._buffer.buffer import Buffer
from logship._buffer.entrance import Outcome
from logship._reasons import SAMPLED
from logship._settings import BUFFER_BYTES_MIN
from tests.unit.accounts import (
    a_buffer,
    body,
    check,
    check_declared,
    drained,
    entries_of,
    gaps_in,
    numbers_in,
    stamp_of,
)

CHUNKS = 8
TURNS = 100
"""How often so many chunks are replaced."""
GAPS_MAX = 32


@pytest.fixture(autouse=True)
def _few_gaps_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "GAPS_MAX", GAPS_MAX)


@pytest.fixture
def buffer() -> Buffer:
    return a_buffer(bytes_max=BUFFER_BYTES_MIN, chunk_bytes_max=BUFFER_BYTES_MIN // CHUNKS)


def log(buffer: Buffer, number: int) -> None:
    """Log a record as `drop_oldest` does."""
    while buffer.offer("t", body(number, 4000)) is Outcome.FULL:
        assert buffer.drop_oldest()


def gap_records(buffer: Buffer) -> int:
    waiting = [record for chunk in buffer.unsettled() for record in entries_of(chunk.data)]
    return sum("logship_gap" in record for record in waiting)


def end(buffer: Buffer) -> list[dict[str, Any]]:
    """Have the sidecar come back, and return what it gets."""
    sink = drained(buffer)
    buffer.close_intake()
    sink.drain()
    check_declared(buffer, sink.acked)
    return sink.acked


def test_dropped_chunks_leave_one_gap_record_together(buffer: Buffer) -> None:
    for number in range(TURNS * CHUNKS):
        log(buffer, number)
    assert gap_records(buffer) <= 2 * CHUNKS
    check(buffer, [])
    arrived = end(buffer)
    check(buffer, arrived)
    gaps = gaps_in(arrived)
    assert {(first, reason) for first, _, reason in gaps} == {(1, "overflow")}
    (part,) = buffer.report("", 0.0).streams
    assert part.dropped == [(1, max(last for _, last, _ in gaps), "overflow")]


@pytest.mark.usefixtures("changes_are_made")
def test_reasons_that_take_turns_are_told_apart_up_to_a_bound(buffer: Buffer) -> None:
    for turn in range(TURNS):
        for number in range(CHUNKS):
            log(buffer, turn * CHUNKS + number)
        chunk = buffer.unsettled()[0]
        if turn % 3 == 0:
            buffer.spilling.note_spilled(chunk, chunk.entries, chunk.records)
        elif turn % 3 == 1:
            buffer.note(SAMPLED, 1, "t")
            buffer._section.accumulator._monotonic.advance(100.0)  # type: ignore[attr-defined]
    assert gap_records(buffer) <= 2 * GAPS_MAX
    report = buffer.report("", 0.0)
    (part,) = report.streams
    assert len(part.dropped) + len(part.spilled) <= 2 * GAPS_MAX
    assert {reason for _, _, reason in part.dropped} >= {"mixed", "overflow"}
    assert part.dropped[-1][2] != "mixed", "what came last is told apart"
    numbers = numbers_in(part.dropped) + numbers_in(part.spilled) + numbers_in(part.unacked)
    assert sorted(numbers) == [*range(1, part.last + 1)]
    arrived = end(buffer)
    gaps = gaps_in(arrived)
    (part,) = buffer.report("", 0.0).streams
    named = {stamp_of(record)[1] for record in arrived} | {*numbers_in(gaps)}
    assert named == {*range(1, part.last + 1)}

"""A chunk that no server takes is split, and what is given up of it becomes a gap."""

from __future__ import annotations

import pytest

from logship._buffer import stream
from logship._buffer.buffer import Buffer
from logship._buffer.chunk import MemoryStorage
from logship._reasons import QUARANTINED
from tests.unit.accounts import (
    ENTRY_BYTES,
    Sink,
    body,
    check,
    drained,
    ended,
    entries_of,
    gaps_in,
    holding,
    offer_many,
    split,
    taken,
)


def test_the_halves_of_a_chunk_hold_what_it_held() -> None:
    buffer = holding(2)
    buffer.number_and_drop("t", body(3))
    offer_many(buffer, 3, first=4)
    whole = taken(buffer)
    before = entries_of(whole.data)
    buffer.spilling.note_spilled(whole, 4, 3)
    halves = split(buffer, whole)
    assert [r for half in halves for r in entries_of(half.data)] == before
    assert halves[0].id != halves[1].id != whole.id
    assert [(half.spilled_entries, half.spilled_records) for half in halves] == [(3, 2), (1, 1)]
    assert buffer.unsettled() == [*halves]
    report = buffer.report("", 0.0)
    assert (report.spilled, report.unacked, report.dropped) == (3, 2, 1)
    assert buffer.bytes_held == sum(len(half.data) for half in halves)


def test_the_halves_of_a_half_hold_what_it_held() -> None:
    buffer = holding(5)
    for half in split(buffer, taken(buffer)):
        before = entries_of(half.data)
        assert [r for each in split(buffer, half) for r in entries_of(each.data)] == before


def test_halves_have_the_place_of_their_whole() -> None:
    buffer = holding(4)
    whole = taken(buffer)
    offer_many(buffer, 1, "later")
    halves = split(buffer, whole)
    later = buffer.unsettled()[-1]
    assert buffer.unsettled() == [*halves, later]
    assert later.stream.tag == "later"


def test_what_a_half_declares_is_declared_again_if_it_is_given_up() -> None:
    buffer = holding(2)
    buffer.number_and_drop("t", body(3))
    offer_many(buffer, 1, first=4)
    left, right = split(buffer, taken(buffer))
    assert gaps_in(entries_of(right.data)) == [[3, 3, "overflow"]]
    buffer.release(left)
    buffer.give_up(right, QUARANTINED)
    buffer.close_intake()
    declared = gaps_in(drained(buffer).acked)
    assert declared == [[3, 3, "overflow"], [4, 5, QUARANTINED]]


def test_a_stream_is_forgotten_when_all_halves_of_its_chunks_are_acked(
    buffer: Buffer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stream, "STREAMS_MAX", 1)
    sink = Sink(buffer)
    offer_many(buffer, 2, "first")
    whole = taken(buffer)
    halves = split(buffer, whole)

    def reported_after(tag: str) -> list[str]:
        offer_many(buffer, 1, tag)
        offer_many(buffer, 1, f"{tag} again")
        return [part.tag for part in buffer.report("", 0.0).streams]

    assert "first" in reported_after("a")
    for chunk in buffer.unsettled():
        if chunk.stream.tag == "first" and chunk is not halves[1]:
            buffer.release(chunk)
    assert "first" in reported_after("b")
    buffer.release(halves[1])
    sink.drain()
    assert "first" not in reported_after("c")


def test_an_end_record_is_no_record_of_the_application_in_a_half_either() -> None:
    buffer = holding(3)
    buffer.close_intake()
    whole = taken(buffer)
    halves = split(buffer, whole)
    assert [half.records for half in halves] == [2, 1]
    check(buffer, [])


@pytest.mark.parametrize("spilled", [False, True])
def test_quarantined_records_are_gaps(spilled: bool) -> None:
    buffer = holding(2, chunk_bytes_max=ENTRY_BYTES)
    for _ in "12":
        chunk = taken(buffer)
        if spilled:
            buffer.spilling.note_spilled(chunk, 1, 1)
        buffer.give_up(chunk, QUARANTINED)
    report = buffer.report("test", 0.0)
    assert (report.spilled, report.dropped) == ((2, 0) if spilled else (0, 2))
    ended(buffer)


def test_what_is_given_up_is_declared_before_another_record_comes() -> None:
    buffer = holding(1)
    buffer.give_up(taken(buffer), QUARANTINED)
    buffer.seal_all()
    told = taken(buffer)
    assert entries_of(told.data)[0]["logship_gap"] == [1, 1, "quarantined"]
    buffer.give_up(told, QUARANTINED)
    assert buffer.unsettled() == [], "what no server takes is not written again and again"


def test_what_is_given_up_is_declared_with_the_next_record_where_nothing_has_a_place(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on a full spool: its gap record would be kept in memory alone."""
    buffer = holding(1)
    with monkeypatch.context() as full:
        full.setattr(MemoryStorage, "has_room", lambda _self, _size: False)
        buffer.give_up(taken(buffer), QUARANTINED)
    assert buffer.unsettled() == []
    offer_many(buffer, 1, first=2)
    assert gaps_in(entries_of(taken(buffer).data)) == [[1, 1, "quarantined"]]
